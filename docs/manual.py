#!/usr/bin/env python3
"""Makes manual pages from what the tools say about themselves, so that page and --help cannot disagree.

    manual.py --bin .build/release --output .build/man tok-shard tok-pack …

swift-argument-parser prints a tool's whole command tree as JSON for --experimental-dump-help; this turns it into one
troff page a tool, subcommands included. Standard library only.
"""

import argparse
import json
import os
import subprocess
import sys

EXIT_CODES = [
    ("0", "done"),
    ("1", "the honest answer is no: two checkpoints differ, a verification or a check of metrics failed"),
    ("64", "usage"),
    ("65", "bad data, also a stream that stopped before its end"),
    ("66", "no input"),
    ("70", "a bug in the tool"),
    ("73", "cannot create the output"),
    ("74", "input or output failed"),
    ("75", "interrupted after saving; run again to go on"),
]
SEE_ALSO = ["tok-shard", "tok-pack", "train-step", "ckpt-tool", "metrics-cat"]


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in ".'" else line for line in text.split("\n"))


def paragraphs(text):
    """Plain text to troff: blank lines part paragraphs, indented lines are examples and keep their shape."""
    lines, example = [], False
    for line in text.strip("\n").split("\n"):
        indented = line.startswith("  ") and line.strip()
        if indented and not example:
            lines += [".PP", ".nf", ".RS 4"]
        elif example and not indented:
            lines += [".RE", ".fi"]
        example = bool(indented)
        lines.append(escape(line.strip()) if line.strip() else ".PP")
    if example:
        lines += [".RE", ".fi"]
    return [line for index, line in enumerate(lines) if line != ".PP" or (index and lines[index - 1] != ".PP")]


def spelled(argument):
    """How an argument is written: every spelling of an option, or the name of a positional value."""
    value = argument.get("valueName", "value")
    if argument["kind"] == "positional":
        return f"\\fI{escape(value)}\\fR" + ("..." if argument.get("isRepeating") else "")
    names = []
    for name in argument.get("names", []):
        dashes = "--" if name["kind"] == "long" else "-"
        names.append(f"\\fB{escape(dashes + name['name'])}\\fR")
    text = ", ".join(names)
    return text + (f" \\fI{escape(value)}\\fR" if argument["kind"] == "option" else "")


def visible(command):
    return [a for a in command.get("arguments", []) if a.get("shouldDisplay", True) and not is_help(a)]


def is_help(argument):
    return any(name["name"] in ("help", "version") for name in argument.get("names", []))


def synopsis(command, path):
    options = [a for a in visible(command) if a["kind"] != "positional"]
    words = [f"\\fB{escape(' '.join(path))}\\fR"]
    if options:
        words.append("[\\fIoptions\\fR]")
    words += [spelled(a) if not a.get("isOptional") else f"[{spelled(a)}]"
              for a in visible(command) if a["kind"] == "positional"]
    return " ".join(words)


def described(command):
    lines = []
    for argument in visible(command):
        text = [argument.get("abstract", ""), argument.get("discussion", "")]
        default = argument.get("defaultValue")
        body = " ".join(part.strip() for part in text if part and part.strip())
        if default not in (None, "") and argument["kind"] == "option":
            body += f" (default: {default})"
        lines += [".TP", spelled(argument), escape(body) or "\\&"]
    return lines


def subcommands(command):
    return [c for c in command.get("subcommands", []) if c["commandName"] != "help" and c.get("shouldDisplay", True)]


def page(command, version):
    name = command["commandName"]
    abstract = command.get("abstract", "").strip().rstrip(".")
    children = subcommands(command)
    lines = [f'.TH "{name.upper()}" "1" "" "Millrace {version}" "Millrace"', ".SH NAME",
             f"{escape(name)} \\- {escape(abstract[:1].lower() + abstract[1:])}", ".SH SYNOPSIS"]
    forms = [synopsis(command, [name])] if visible(command) or not children else []
    forms += [synopsis(child, [name, child["commandName"]]) for child in children]
    lines += "\n.br\n".join(forms).split("\n")
    lines += [".SH DESCRIPTION", escape(command.get("abstract", "").strip()), ".PP"]
    lines += paragraphs(command.get("discussion", "")) if command.get("discussion") else []
    if visible(command):
        lines += [".SH OPTIONS", *described(command)]
    if children:
        lines.append(".SH COMMANDS")
        for child in children:
            lines += [f".SS {escape(name + ' ' + child['commandName'])}", escape(child.get("abstract", "").strip())]
            lines += [".PP", *paragraphs(child["discussion"])] if child.get("discussion") else []
            lines += described(child)
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXIT_CODES:
        lines += [".TP", code, escape(meaning)]
    others = [f"\\fB{escape(tool)}\\fR(1)" for tool in SEE_ALSO if tool != name]
    lines += [".SH SEE ALSO", ", ".join(others)]
    return "\n".join(line for line in lines if line) + "\n"


def main():
    parser = argparse.ArgumentParser(description="manual pages from the tools' own help")
    parser.add_argument("--bin", required=True, help="folder of the tools")
    parser.add_argument("--output", required=True, help="folder for the pages")
    parser.add_argument("tools", nargs="+")
    arguments = parser.parse_args()
    os.makedirs(arguments.output, exist_ok=True)
    for tool in arguments.tools:
        binary = os.path.join(arguments.bin, tool)
        dump = subprocess.run([binary, "--experimental-dump-help"], capture_output=True, text=True, check=True).stdout
        version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip().split(" ")[-1]
        command = json.loads(dump)["command"]
        with open(os.path.join(arguments.output, f"{tool}.1"), "w", encoding="utf-8") as file:
            file.write(page(command, version))
    return 0


if __name__ == "__main__":
    sys.exit(main())
