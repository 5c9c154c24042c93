"""What of a DICOM data set may leave the site: a closed list of elements, and of the values each may have.

Everything else goes, whatever it is called and whoever put it there. An element that stays is written anew
from its value: numbers in the range of a measurement, words from closed lists, codes with the meaning that
the standard gives them, identifiers replaced.

References
----------
DICOM PS3.3 (terms of the elements), PS3.5 6.2 and 6.4 (kinds and number of values), PS3.6 (registry).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr import _concepts_dict
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import DSfloat

from napari_mediround.domain.segments import ORIGINS
from napari_mediround.io.dicom.codes import MODALITIES

# fmt: off
NUMBERS = frozenset((
    # The pixels and what they mean.
    "SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "SmallestImagePixelValue", "LargestImagePixelValue",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelAspectRatio", "RescaleSlope", "RescaleIntercept",
    "WindowCenter", "WindowWidth", "LUTDescriptor", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped", "RealWorldValueIntercept",
    "RealWorldValueSlope", "DoubleFloatRealWorldValueFirstValueMapped",
    "DoubleFloatRealWorldValueLastValueMapped", "LossyImageCompressionRatio", "FrameTime",
    # Where it lies.
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SliceLocation",
    "SpacingBetweenSlices", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PhysicalDeltaX",
    "PhysicalDeltaY", "PhysicalUnitsXDirection", "PhysicalUnitsYDirection", "RegionLocationMinX0",
    "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1", "RegionSpatialFormat",
    "RegionDataType", "RegionFlags", "ReferencePixelX0", "ReferencePixelY0", "GantryDetectorTilt",
    "TableHeight", "ReconstructionDiameter", "DataCollectionDiameter", "DistanceSourceToDetector",
    "DistanceSourceToPatient", "EstimatedRadiographicMagnificationFactor",
    # How it was taken.
    "KVP", "XRayTubeCurrent", "ExposureTime", "Exposure", "CTDIvol", "RevolutionTime", "SpiralPitchFactor",
    "SingleCollimationWidth", "TotalCollimationWidth", "TableSpeed", "TableFeedPerRotation",
    "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoNumbers", "EchoTrainLength",
    "MagneticFieldStrength", "ImagingFrequency", "NumberOfAverages", "PercentSampling",
    "PercentPhaseFieldOfView", "PixelBandwidth", "AcquisitionMatrix", "TriggerTime", "SAR",
    "NumberOfPhaseEncodingSteps", "DiffusionBValue", "DiffusionGradientOrientation", "EffectiveEchoTime",
    "NumberOfTemporalPositions", "TemporalResolution", "DecayFactor", "DoseCalibrationFactor",
    "ScatterFractionFactor", "SliceSensitivityFactor", "FrameReferenceTime", "ActualFrameDuration",
    "NumberOfSlices", "NumberOfTimeSlices", "RadionuclideHalfLife", "RadionuclidePositronFraction",
    # Of masks.
    "SegmentNumber", "ReferencedSegmentNumber", "MaximumFractionalValue", "RecommendedDisplayCIELabValue",
    "ROINumber", "ReferencedROINumber", "ROIDisplayColor", "NumberOfContourPoints", "ContourNumber",
    "ContourData", "ObservationNumber", "PixelPaddingValue",
))
"""Elements that hold numbers: finite, of the size of a measurement, as many as the standard allows."""

COUNTERS = frozenset((
    "SeriesNumber", "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "ImageIndex",
    "TemporalPositionIndex", "DimensionIndexValues", "InStackPositionNumber", "StackPositionNumber",
    "FrameAcquisitionNumber", "ReferencedFrameNumber", "InConcatenationNumber",
    "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber",
))
"""Numbers that count, from 0 to `_LARGEST_COUNT`: longer ones may be somebody's."""

_FRAME_TYPES = (
    "ORIGINAL", "DERIVED", "MIXED", "PRIMARY", "SECONDARY", "AXIAL", "LOCALIZER", "VOLUME", "NONE", "OTHER",
    "MPR", "MIP", "MAX_IP", "MIN_IP", "MINIP", "AVERAGE", "RESAMPLED", "REFORMATTED", "SUBTRACTION", "M", "P",
    "R", "I", "MAGNITUDE", "PHASE", "PHASE MAP", "REAL", "IMAGINARY", "ND", "NORM", "DIS2D", "DIS3D",
    "MOSAIC",
    "ADC", "FA", "DIFFUSION", "PERFUSION", "TRACEW", "T1", "T2", "T2_STAR", "WATER", "FAT", "IN_PHASE",
    "OPP_PHASE", "OUT_PHASE", "SE", "IR", "FFE", "DYNAMIC", "STATIC", "GATED", "WHOLE BODY", "IMAGE",
    "EMISSION", "TRANSMISSION", "SINGLE PLANE", "BIPLANE A", "BIPLANE B", "HELICAL", "PROJECTION",
)
_YES_NO = ("YES", "NO")
TERMS = {
    "Modality": (*MODALITIES, "SEG", "RTSTRUCT"),
    "ImageType": _FRAME_TYPES,
    "FrameType": _FRAME_TYPES,
    "PhotometricInterpretation": (
        "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420",
        "YBR_ICT", "YBR_RCT",
    ),
    "PatientPosition": tuple(a + b for a in ("HF", "FF", "LF", "RF", "AF", "PF") for b in
                             ("S", "P", "DR", "DL")),
    **dict.fromkeys(("Laterality", "ImageLaterality", "FrameLaterality"), ("R", "L", "U", "B")),
    "RescaleType": ("HU", "HU_MOD", "US", "OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"),
    "ModalityLUTType": ("HU", "US", "OD"),
    "Units": ("BQML", "CNTS", "CPS", "GML", "PROPCNTS", "PROPCPS", "PERCENT", "NONE", "CM2ML", "SUVBW"),
    "VOILUTFunction": ("LINEAR", "LINEAR_EXACT", "SIGMOID"),
    "PresentationLUTShape": ("IDENTITY", "INVERSE"),
    **dict.fromkeys(("BurnedInAnnotation", "RecognizableVisualFeatures", "QuantitativeMap"), _YES_NO),
    "LossyImageCompression": ("00", "01"),
    "LossyImageCompressionMethod": ("ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_13818_2"),
    "PixelPresentation": ("MONOCHROME", "COLOR", "MIXED", "TRUE_COLOR"),
    "VolumetricProperties": ("VOLUME", "SAMPLED", "DISTORTED", "MIXED"),
    "VolumeBasedCalculationTechnique": ("MAX_IP", "MIN_IP", "VOLUME_RENDER", "SURFACE_RENDER", "MPR",
                                        "CURVED_MPR", "NONE", "MIXED"),
    "ComplexImageComponent": ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "MIXED"),
    "AcquisitionContrast": ("DIFFUSION", "FLOW_ENCODED", "FLUID_ATTENUATED", "PERFUSION", "PROTON_DENSITY",
                            "STIR", "TAGGING", "T1", "T2", "T2_STAR", "TOF", "UNKNOWN", "MIXED"),
    "MRAcquisitionType": ("1D", "2D", "3D"),
    "ScanningSequence": ("SE", "IR", "GR", "EP", "RM"),
    "SequenceVariant": ("SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "TOF", "NONE"),
    "InPlanePhaseEncodingDirection": ("ROW", "COL", "COLUMN"),
    "DiffusionDirectionality": ("DIRECTIONAL", "BMATRIX", "ISOTROPIC", "NONE"),
    "BodyPartExamined": ("ABDOMEN", "ABDOMENPELVIS", "ANKLE", "ARM", "BRAIN", "BREAST", "CHEST",
                         "CHESTABDOMEN", "CHESTABDPELVIS", "CSPINE", "ELBOW", "EXTREMITY", "FOOT", "HAND",
                         "HEAD", "HEADNECK", "HEART", "HIP", "KNEE", "LEG", "LIVER", "LSPINE", "NECK",
                         "PELVIS", "PROSTATE", "SHOULDER", "SKULL", "SPINE", "TSPINE", "WHOLEBODY", "WRIST"),
    "CorrectedImage": ("DECY", "ATTN", "SCAT", "DTIM", "MOTN", "PMOT", "CLN", "RAN", "RADL", "DCAL", "NORM"),
    "DecayCorrection": ("NONE", "START", "ADMIN"),
    "CountsSource": ("EMISSION", "TRANSMISSION"),
    "SegmentationType": ("BINARY", "FRACTIONAL", "LABELMAP"),
    "SegmentsOverlap": ("YES", "NO", "UNDEFINED"),
    **dict.fromkeys(("SegmentAlgorithmType", "ROIGenerationAlgorithm"), ORIGINS),
    "DimensionOrganizationType": ("3D", "3D_TEMPORAL", "TILED_FULL", "TILED_SPARSE"),
    "ContourGeometricType": ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"),
    "RTROIInterpretedType": ("ORGAN", "CTV", "GTV", "PTV", "AVOIDANCE", "EXTERNAL", "CONTROL", "CAVITY"),
    "ApprovalStatus": ("APPROVED", "UNAPPROVED", "REJECTED"),
    "ContentLabel": ("SEGMENTATION", "ISO_IR 192"),
    "PatientIdentityRemoved": _YES_NO,
}
"""Elements that hold words, and the words that each may hold."""

WRITTEN = frozenset((
    "SegmentLabel", "TrackingID", "AlgorithmName", "AlgorithmVersion", "AlgorithmSource", "Manufacturer",
    "ManufacturerModelName", "SoftwareVersions", "ROIName", "ROIGenerationDescription",
    "StructureSetName", "DimensionDescriptionLabel",
))
"""Elements with text of ours: names of structures, cleaned, and what wrote them."""

EMPTIED = frozenset((
    "Manufacturer", "PositionReferenceIndicator", "Laterality", "PatientOrientation", "ScanOptions",
    "ROIGenerationAlgorithm", "ContentDescription", "ROIInterpreter",
))
"""Elements that must be there (type 2): their values go."""

SEQUENCES = frozenset((
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PlanePositionSequence",
    "PlaneOrientationSequence", "PixelMeasuresSequence", "FrameContentSequence", "FrameAnatomySequence",
    "FrameVOILUTSequence", "PixelValueTransformationSequence", "IdentityPixelValueTransformationSequence",
    "RealWorldValueMappingSequence", "SegmentIdentificationSequence", "DerivationImageSequence",
    "SourceImageSequence", "ReferencedImageSequence", "ReferencedSeriesSequence",
    "ReferencedInstanceSequence", "DimensionOrganizationSequence", "DimensionIndexSequence",
    "MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence",
    "MRTimingAndRelatedParametersSequence", "MREchoSequence", "MRDiffusionSequence",
    "DiffusionGradientDirectionSequence", "MRFOVGeometrySequence", "MRAveragesSequence",
    "CTExposureSequence", "CTReconstructionSequence", "CTGeometrySequence", "CTXRayDetailsSequence",
    "ModalityLUTSequence", "VOILUTSequence", "SequenceOfUltrasoundRegions", "AnatomicRegionSequence",
    "SegmentSequence", "SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence",
    "SegmentedPropertyTypeModifierCodeSequence", "SegmentationAlgorithmIdentificationSequence",
    "AlgorithmFamilyCodeSequence", "MeasurementUnitsCodeSequence", "PurposeOfReferenceCodeSequence",
    "DerivationCodeSequence", "ViewCodeSequence", "ReferencedFrameOfReferenceSequence",
    "RTReferencedStudySequence", "RTReferencedSeriesSequence", "ContourImageSequence",
    "StructureSetROISequence", "ROIContourSequence", "ContourSequence", "RTROIObservationsSequence",
    "RTROIIdentificationCodeSequence",
))
"""Sequences whose items are looked at in turn; of codes, those that the standard lists stay."""

TABLES = {
    "LUTData": "LUTDescriptor",
    **{f"{colour}PaletteColorLookupTableData": f"{colour}PaletteColorLookupTableDescriptor"
       for colour in ("Red", "Green", "Blue")},
}
"""Lookup tables, each with the element that says how long it is: no byte more stays."""
# fmt: on

PIXELS = frozenset(("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
"""Looked at apart: they are written anew from their values."""

POINTERS = frozenset(("DimensionIndexPointer", "FunctionalGroupPointer", "FrameIncrementPointer"))
"""Elements that name other elements, of the standard."""

_LARGEST_COUNT = 99_999
_NUMERIC = frozenset(("DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "SV", "UV", "US or SS"))
_SMALLEST, _LARGEST = 1e-9, 1e9
_MOST = 64  # values of an element that may have any number; contours may have more
_ENDLESS = frozenset(("ContourData",))
_NO_TEXT = 0x1FFF  # two letters make a larger number: a list of these spells nothing
_MOST_BITS = 16
_FREE = frozenset(
    (
        "RecommendedDisplayCIELabValue",
        "LUTDescriptor",
        "RedPaletteColorLookupTableDescriptor",
        "GreenPaletteColorLookupTableDescriptor",
        "BluePaletteColorLookupTableDescriptor",
    )
)


def keyword_of(tag: BaseTag) -> str:
    """Return an element's keyword, "" for one that is not of the standard."""
    return keyword_for_tag(tag) if not tag.is_private and dictionary_has_tag(tag) else ""


def is_listed(tag: BaseTag) -> bool:
    """Return whether an element may stay, in whatever form: all else goes unread."""
    keyword = keyword_of(tag)
    if not keyword:
        return False
    lists = (NUMBERS, COUNTERS, TERMS, WRITTEN, EMPTIED, SEQUENCES, TABLES, PIXELS, POINTERS)
    return dictionary_VR(tag) == "UI" or any(keyword in known for known in lists)


def clean_element(
    dataset: Dataset, element: DataElement, new_uid: Callable[[str], str], words: frozenset[str]
) -> DataElement | None:
    """Return what stays of a listed element that is no sequence and no pixels; None where nothing does.

    Parameters
    ----------
    dataset : Dataset
        That it stands in.
    element : DataElement
        As it was read.
    new_uid : callable
        Takes an identifier, returns the one that stands for it.
    words : frozenset of str
        Texts that may stay.
    """
    keyword, kind = element.keyword, dictionary_VR(element.tag)
    values = _values(element.value)
    kept: list = []
    if kind == "UI":
        kept = [new_uid(str(value)) for value in values if value]
    elif keyword in TABLES:
        return _clean_table(dataset, element)
    elif keyword in NUMBERS or keyword in COUNTERS:
        kept = _clean_numbers(keyword, kind, values)
    elif keyword in TERMS:
        kept = [str(value) for value in values if str(value) in TERMS[keyword]]
    elif keyword in POINTERS:
        kept = [Tag(value) for value in values if _is_public(value)]
    elif keyword in WRITTEN:
        kept = [str(value) for value in values if str(value) in words]
    if not kept and keyword not in EMPTIED:
        return None
    kind = element.VR if kind not in ("UI", *_NUMERIC, "CS", "LO", "SH", "UT", "AT") else kind
    kind = element.VR if kind == "US or SS" and element.VR in ("US", "SS") else kind
    kind = "US" if kind == "US or SS" else kind
    return DataElement(element.tag, kind, kept if len(kept) != 1 else kept[0])


def is_known_code(item: Dataset) -> bool:
    """Return whether an item is a code of the standard's lists; all but code and meaning goes."""
    code = str(item.get("CodeValue") or ""), str(item.get("CodingSchemeDesignator") or "")
    said, known = str(item.get("CodeMeaning") or ""), _meanings().get(code, ())
    item.clear()
    if not known:
        return False
    item.CodeValue, item.CodingSchemeDesignator = code
    item.CodeMeaning = said if said in known else known[0]
    return True


@cache
def _meanings() -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the meanings of each (value, scheme) that pydicom lists; it has no public look-up by value."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for scheme, keywords in _concepts_dict.concepts.items():
        for codes in keywords.values():
            for value, (meaning, _) in codes.items():
                found[value, scheme] = (*found.get((value, scheme), ()), meaning)
    return found


def _values(value: object) -> list:
    """Return the values of an element as a list."""
    if value is None or value == "" or value == b"":
        return []
    return list(value) if isinstance(value, list | tuple | MultiValue) else [value]


def _clean_numbers(keyword: str, kind: str, values: list) -> list:
    """Return numbers, written anew; none of them where one is none, or they are too many."""
    numbers, whole = [], kind in ("US", "SS", "UL", "SL", "US or SS")
    if whole and keyword.endswith("Descriptor") and not int(values[-1]) <= _MOST_BITS:
        return []
    several = whole and len(values) > 1 and keyword not in _FREE
    for value in values:
        number = float(value)
        size = abs(number)
        largest = _LARGEST_COUNT if keyword in COUNTERS else _NO_TEXT if several else _LARGEST
        if not math.isfinite(number) or size > largest or 0 < size < _SMALLEST:
            return []
        numbers.append(_as_kind(kind, number))
    most = _MOST if keyword not in _ENDLESS else math.inf
    return numbers if _fits(keyword, len(numbers)) and len(numbers) <= most else []


def _as_kind(kind: str, number: float) -> object:
    if kind == "DS":
        return DSfloat(number, auto_format=True)
    return number if kind in ("FL", "FD") else int(number)


def _fits(keyword: str, count: int) -> bool:
    """Return whether an element may have so many values ("1", "3", "1-n", "2-2n", "3-3n", "1 or 2")."""
    multiplicity = dictionary_VM(pydicom.datadict.tag_for_keyword(keyword))
    if " or " in multiplicity:
        return str(count) in multiplicity.split(" or ")
    low, _, high = multiplicity.partition("-")
    if not high:
        return count == int(low)
    if high.endswith("n"):
        return count >= int(low) and count % int(high[:-1] or 1) == 0
    return int(low) <= count <= int(high)


def _clean_table(dataset: Dataset, element: DataElement) -> DataElement | None:
    """Return a lookup table cut to the length that its descriptor says."""
    entries, _, bits = (int(n) for n in dataset[TABLES[element.keyword]].value)
    count = entries or 2**16
    if isinstance(element.value, bytes):
        size = count * (1 if bits <= 8 and len(element.value) < 2 * count else 2)
        data = element.value[:size]
        if dataset.original_encoding[1] is False:  # big-endian
            data = b"".join(data[k : k + 2][::-1] for k in range(0, len(data), 2))
        return DataElement(element.tag, "OW", data + bytes(len(data) % 2))
    return DataElement(
        element.tag, "OW", b"".join(int(n).to_bytes(2, "little") for n in element.value[:count])
    )


def _is_public(value: object) -> bool:
    tag = Tag(value)
    return not tag.is_private and dictionary_has_tag(tag)
