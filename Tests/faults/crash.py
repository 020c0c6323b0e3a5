"""Power loss: what the page cache held is gone. The calls of a run are recorded (strace, with the bytes), and replayed into a
model of a file system up to any call; then a disk is made of what the model says may be left, and the run must go on from it.

The model keeps only what POSIX promises, in the order that journalling file systems keep:
- A file's content is sure up to its last fsync. Later writes may be there, in part, or as zeros.
- A directory's entries are sure up to its last fsync. Of later changes any prefix may be there, in each directory its own.
- A file that is named but was never flushed may be empty.
A run that renames before it flushes, or moves a link before the checkpoint is sure, fails here.
"""

import os
import random
import re
import shutil

from workload import Failed, expect, progress

CALLS = ("openat,write,pwrite64,fsync,fdatasync,?rename,renameat,renameat2,?mkdir,mkdirat,?unlink,unlinkat,?rmdir,"
         "?symlink,symlinkat,ftruncate,close,?link,linkat")


class File:
    def __init__(self, content=b""):
        self.sure = bytes(content)
        self.now = bytearray(content)

    def write(self, offset, data):
        if len(self.now) < offset:
            self.now.extend(bytes(offset - len(self.now)))
        self.now[offset:offset + len(data)] = data

    def left(self, choice, generator):
        if self.now == self.sure or choice == "all":
            return bytes(self.now)
        if choice == "none":
            return self.sure
        # Sizes reach the disk before contents do: zeros, or a part.
        kind = generator.randrange(4)
        if kind == 0:
            return self.sure
        if kind == 1:
            return self.sure + bytes(max(0, len(self.now) - len(self.sure)))
        cut = generator.randrange(len(self.now) + 1)
        return bytes(self.now[:cut]) if cut >= len(self.sure) else self.sure


class Directory:
    def __init__(self):
        self.sure = {}
        self.now = {}
        self.log = []

    def set(self, changes):
        """Entries that change together, as a rename's two; None removes."""
        for name, node in changes.items():
            if node is None:
                self.now.pop(name, None)
            else:
                self.now[name] = node
        self.log.append(changes)

    def left(self, choice, generator):
        count = {"all": len(self.log), "names": len(self.log), "none": 0}.get(choice)
        if count is None:
            count = generator.randrange(len(self.log) + 1)
        entries = dict(self.sure)
        for changes in self.log[:count]:
            for name, node in changes.items():
                if node is None:
                    entries.pop(name, None)
                else:
                    entries[name] = node
        return entries


class Disk:
    """The run's directory as the model sees it, fed call by call."""

    def __init__(self, run):
        self.run = str(run)
        self.root = Directory()
        self.open = {}
        if run.is_dir():
            self._load(run, self.root)

    def _load(self, path, directory):
        for entry in os.scandir(path):
            if entry.is_symlink():
                node = os.readlink(entry.path)
            elif entry.is_dir():
                node = Directory()
                self._load(entry.path, node)
            else:
                with open(entry.path, "rb") as file:
                    node = File(file.read())
            directory.now[entry.name] = directory.sure[entry.name] = node

    def _find(self, path):
        """(the directory that holds it, its name), or None when it is outside the run."""
        path = os.path.normpath(os.path.join(os.path.dirname(self.run), path))
        if path == self.run:
            return None, None
        if not path.startswith(self.run + "/"):
            return None
        parts = path[len(self.run) + 1:].split("/")
        node = self.root
        for part in parts[:-1]:
            node = node.now.get(part)
            if isinstance(node, str):
                node = self.root.now.get(node)
            if not isinstance(node, Directory):
                return None
        return node, parts[-1]

    def apply(self, call, text, strings, result):
        """One call that succeeded."""
        first = re.match(r"(\d+)", text)
        fd = int(first[1]) if first else None
        if call == "openat":
            found = self._find(strings[0])
            self.open.pop(result, None)
            if found is None:
                return
            directory, name = found
            if directory is None:
                self.open[result] = [self.root, 0, False]
                return
            node = directory.now.get(name)
            if node is None and "O_CREAT" in text:
                node = File()
                directory.set({name: node})
            if isinstance(node, str):
                node = self.root.now.get(node)
            if isinstance(node, File) and "O_TRUNC" in text:
                node.now = bytearray()
            if node is not None:
                self.open[result] = [node, 0, "O_APPEND" in text]
        elif call == "close":
            self.open.pop(fd, None)
        elif call in ("write", "pwrite64") and fd in self.open:
            entry = self.open[fd]
            data = strings[0][:result]
            if call == "pwrite64":
                entry[0].write(int(text.rsplit(",", 1)[1]), data)
                return
            offset = len(entry[0].now) if entry[2] else entry[1]
            entry[0].write(offset, data)
            entry[1] = offset + len(data)
        elif call == "ftruncate" and fd in self.open:
            length = int(text.rsplit(",", 1)[1])
            node = self.open[fd][0]
            node.now = node.now[:length] + bytes(max(0, length - len(node.now)))
        elif call in ("fsync", "fdatasync") and fd in self.open:
            node = self.open[fd][0]
            if isinstance(node, File):
                node.sure = bytes(node.now)
            else:
                node.sure, node.log = dict(node.now), []
        elif call in ("mkdir", "mkdirat"):
            found = self._find(strings[0])
            if found and found[0]:
                found[0].set({found[1]: Directory()})
        elif call in ("symlink", "symlinkat"):
            found = self._find(strings[1])
            if found and found[0]:
                found[0].set({found[1]: strings[0].decode()})
        elif call in ("unlink", "unlinkat", "rmdir"):
            found = self._find(strings[0])
            if found and found[0]:
                found[0].set({found[1]: None})
        elif call in ("rename", "renameat", "renameat2"):
            old, new = self._find(strings[0]), self._find(strings[1])
            if not (old and new and old[0] and new[0]):
                return
            moved, replaced = old[0].now.get(old[1]), new[0].now.get(new[1])
            is_exchange = "RENAME_EXCHANGE" in text
            expect(old[0] is new[0], f"a rename from one directory to another: {strings}")
            old[0].set({old[1]: replaced if is_exchange else None, new[1]: moved})

    def make(self, path, choice, generator):
        """Builds what is left after the power went."""
        shutil.rmtree(path, ignore_errors=True)
        self._make(path, self.root, choice, generator)

    def _make(self, path, directory, choice, generator):
        os.makedirs(path)
        for name, node in directory.left(choice, generator).items():
            place = os.path.join(path, name)
            if isinstance(node, str):
                os.symlink(node, place)
            elif isinstance(node, Directory):
                self._make(place, node, choice, generator)
            else:
                # Names that are there although nothing that they name is: the worst order of all.
                content = node.left("none" if choice == "names" else choice, generator)
                with open(place, "wb") as file:
                    file.write(content)




def record(workload, begun):
    """[(call, text, strings, result)] of the undisturbed work, in the order in which calls returned."""
    arguments, stdin = workload.work(begun)
    workload.reset(begun)
    disk = Disk(workload.run)
    log = workload.home / "record"
    status, _, said = workload.tool(
        "strace", "-f", "-qq", "-xx", "-s", "4000000", "-o", log, "-e", "trace=" + CALLS, *arguments, stdin=stdin)
    expect(status == 0, f"recording: {status}: {said}")
    waiting, calls = {}, []
    for line in log.read_text().splitlines():
        match = re.match(r"(\d+) +(.*)", line)
        pid, rest = match.groups()
        if rest.endswith("<unfinished ...>"):
            waiting[pid] = rest[:-len("<unfinished ...>")]
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", rest)
        if resumed:
            rest = waiting.pop(pid) + resumed[1]
        match = re.match(r"(\w+)\((.*)\) += (-?\d+)", rest)
        if not match or int(match[3]) < 0:
            continue
        call, text, result = match.groups()
        strings = [bytes.fromhex(s.replace("\\x", "")) for s in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', text)]
        if call not in ("write", "pwrite64", "symlink", "symlinkat"):
            strings = [s.decode() for s in strings]
        elif call.startswith("symlink"):
            strings = [strings[0], strings[1].decode()]
        calls.append((call, text, strings, int(result)))
    return disk, calls


def crash_everywhere(workload, begun, recording, stride, choices, generator):
    """Replays a recording, makes the disk that each choice leaves after every `stride`-th call that touches the run, and goes
    on from it. Returns how often."""
    disk, calls = recording
    crashes = touches = 0
    for index, call in enumerate(calls):
        touched = describe(disk, call)
        disk.apply(*call)
        if touched is None:
            continue
        touches += 1
        if touches % stride:
            continue
        for choice in choices:
            disk.make(workload.run, choice, generator)
            try:
                # A checkpoint that can be seen is whole, without any repair.
                workload.sound()
                workload.complete()
            except Exception as error:
                raise type(error)(f"power lost after call {index} ({touched}), {choice} kept: {error}") from error
            crashes += 1
        progress("power loss", index, len(calls))
    return crashes


def lost_cache(workload, stride, seed=3):
    generator = random.Random(seed)
    crashes = 0
    for begun in (workload.before, None):
        recording = record(workload, begun)
        crashes += crash_everywhere(workload, begun, recording, stride, ("none", "names", "some"), generator)
    expect(crashes > 60, f"few crashes: {crashes}")
    return {"power lost after a call": crashes, "  flushes left out that the model noticed": mutations(workload, generator)}


def mutations(workload, generator):
    """The model must be able to say no: the same recording, as if one kind of flush had never been asked for."""
    for what, is_dropped in (
        ("of files", lambda node, root: isinstance(node, File)),
        ("of a checkpoint's directory", lambda node, root: isinstance(node, Directory) and node is not root),
    ):
        disk, calls = record(workload, workload.before)
        # Which flush is of what is only known while the calls are replayed.
        workload.reset(workload.before)
        probe = Disk(workload.run)
        kept = []
        for call in calls:
            fd = re.match(r"(\d+)", call[1])
            entry = probe.open.get(int(fd[1])) if fd else None
            if not (call[0] == "fsync" and entry and is_dropped(entry[0], probe.root)):
                kept.append(call)
            probe.apply(*call)
        expect(len(kept) < len(calls), f"no flushes {what}")
        try:
            crash_everywhere(
                workload, workload.before, (disk, kept), 1, ("names", "some", "some"), generator)
        except Failed:
            continue
        expect(False, f"the model finds nothing wrong without the flushes {what}")
    return 2


def describe(disk, call):
    """What of the run a call touches; None when it touches nothing."""
    name, text, strings, _ = call
    fd = re.match(r"(\d+)", text)
    if name in ("write", "pwrite64", "fsync", "fdatasync", "ftruncate"):
        return name if fd and int(fd[1]) in disk.open else None
    if name == "close":
        return None
    paths = [s for s in strings if isinstance(s, str)]
    inside = any(disk._find(p) is not None for p in paths)
    return f"{name} {' '.join(map(str, strings))}" if inside and "O_RDONLY" not in text else None
