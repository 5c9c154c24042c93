"""The dock's style sheet, from the colours of a napari theme."""

from __future__ import annotations

STYLE = """
QLabel, QCheckBox {{ background: transparent; }}
#plain {{ background: transparent; }}
#cards, #cards_area {{ background: {background}; border: none; }}
#question {{ background: {primary}; border-radius: 8px; }}
#reply {{ background: {foreground}; border-radius: 8px; border: 1px solid {foreground}; }}
#reply:focus {{ border: 1px solid {text}; }}
#message {{ background: transparent; border-left: 3px solid {secondary}; }}
#error {{ background: transparent; border-left: 3px solid {warning}; }}
#fix {{ background: {foreground}; border-radius: 8px; border: 1px solid {current}; }}
#title, #structure {{ font-weight: bold; }}
#muted, #pointed {{ color: {muted}; }}
#low {{ color: {caution}; font-weight: bold; }}
#accepted {{ color: {good}; font-weight: bold; }}
#corrected {{ color: {info}; font-weight: bold; }}
#rejected {{ color: {muted}; font-weight: bold; text-decoration: line-through; }}
#mask {{ background: transparent; border-left: 3px solid transparent; border-radius: 0px; }}
#mask[current="true"] {{ border-left: 3px solid {text}; }}
#link {{ background: transparent; border: none; padding: 0; text-decoration: underline; color: {text}; }}
#number {{ background: transparent; border: none; padding: 0 2px; font-weight: bold; color: {text}; }}
#number:hover {{ background: {highlight}; }}
#link:focus, #number:focus {{ border: 1px solid {text}; }}
#ask {{ background: {current}; padding: 5px 12px; }}
#chip, #suggestion {{ background: {primary}; border-radius: 8px; padding: 1px 8px; }}
#suggestion {{ background: transparent; border: 1px solid {primary}; }}
#chip:hover, #suggestion:hover, #step:hover {{ background: {highlight}; }}
#chip:focus, #suggestion:focus, #step:focus {{ border: 1px solid {text}; }}
#step {{ background: {primary}; padding: 3px 4px; border: 1px solid {primary}; border-radius: 4px; }}
#step:disabled {{ color: {muted}; background: transparent; }}
#step:checked {{ background: {current}; border: 1px solid {current}; }}
#adapters, #adapter_card {{ background: {foreground}; border: 1px solid {foreground}; border-radius: 4px; }}
#adapters:focus, #adapter_card:focus {{ border: 1px solid {text}; }}
#adapters::item:selected {{ background: {current}; }}
#quality {{ background: {background}; border: none; border-radius: 3px; max-height: 6px; min-height: 6px; }}
#need {{ background: {foreground}; border: none; border-radius: 3px; max-height: 6px; min-height: 6px; }}
#need::chunk {{ background: {caution}; border-radius: 3px; }}
#need[met="true"]::chunk {{ background: {good}; }}
#quality::chunk {{ background: {good}; border-radius: 3px; }}
#quality[low="true"]::chunk {{ background: {caution}; }}
Ribbon {{
    qproperty-accepted: {good}; qproperty-fixed: {info}; qproperty-doubtful: {caution};
    qproperty-proposed: {muted}; qproperty-unseen: {background}; qproperty-mark: {text};
}}
"""


def colours(theme: dict[str, str]) -> dict[str, str]:
    """Return a napari theme's colours (`Theme.to_rgb_dict`) with those that it lacks."""
    dark = theme["type"] == "dark"
    extra = {
        "muted": "#a9adb5" if dark else "#56565c",
        "caution": "#f0c040" if dark else "#8a5a00",
        "good": "#4cd07d" if dark else "#19692f",
        "info": "#7fb2ff" if dark else "#1d4fa3",
    }
    return {**theme, **extra}


def style(theme: dict[str, str]) -> str:
    """Return the style sheet for a napari theme's colours (`Theme.to_rgb_dict`)."""
    return STYLE.format(**colours(theme))
