// Datasets of ranks: smaller, and the same dataset to every reader; damage in them is named.

import TestSupport
import Testing

@Suite struct TokShardRankTests {
    /// `ids`, a text of 400,000 ids in 400 documents: many small ids and some of all 100,000.
    private static let ids = #"""
        awk 'BEGIN { srand(3); for (d = 0; d < 400; d++) { for (i = 0; i < 999; i++) {
            r = rand(); printf "%d ", rand() < 0.03 ? r * 100000 : 100 + int(r * r * r * 3000) } print 7 } }' > ids

        """#

    /// Changes the first frame of a dataset's first shard, or its index, as a writer of bad data would: all checksums and
    /// digests are right, unless the change is to a checksum.
    private static let forge = #"""
        cat > forge.py <<'END'
        import hashlib, json, os, struct, subprocess, sys
        folder, change = sys.argv[1:]
        name = folder + "/shard-00000.tok.zst"
        data = bytearray(open(name, "rb").read())
        count = struct.unpack("<I", data[-9:-5])[0]
        table = len(data) - 9 - 12 * count
        entries = [list(struct.unpack("<III", data[table + 12 * k:table + 12 * k + 12])) for k in range(count)]
        index = sum(entry[0] for entry in entries[:-1])
        frames, tail = data[:index], data[index:table - 8]
        first = bytes(frames[:entries[0][0]])
        rest = frames[entries[0][0]:]
        content = bytearray(subprocess.run(["zstd", "-dc"], input=first, capture_output=True, check=True).stdout)
        def crc32c(data):
            crc = 0xffffffff
            for byte in data:
                crc ^= byte
                for _ in range(8):
                    crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
            return crc ^ 0xffffffff
        def seal():
            size = 8 + 32 + 4 + 4 * struct.unpack("<I", tail[40:44])[0] + 24 * (count - 1)
            tail[-4:] = struct.pack("<I", crc32c(tail[8:size]))
        if change == "overlong": content[0:1] = bytes([content[0] | 0x80, 0x00])
        elif change == "high": content[0:3] = b"\xff\xff\x07"
        elif change == "cut": content[-1] |= 0x80
        elif change == "more": content += b"\x01"
        elif change == "digest": tail[44] ^= 1
        elif change == "twice": tail[48:52] = tail[44:48]; seal()
        elif change == "large": tail[40:44] = struct.pack("<I", 20000)
        elif change == "version": tail[12] = 3
        elif change == "plain": tail[12] = 1
        open("content", "wb").write(content)
        subprocess.run(["zstd", "-q", "-f", "--check", "content", "-o", "frame"], check=True)
        frame = open("frame", "rb").read()
        entries[0] = [len(frame), len(content), struct.unpack("<I", frame[-4:])[0]]
        data = frame + bytes(rest) + bytes(tail) + struct.pack("<II", 0x184D2A5E, 12 * count + 9)
        data += b"".join(struct.pack("<III", *entry) for entry in entries) + struct.pack("<IBI", count, 0x80, 0x8F92EAB1)
        open(name, "wb").write(data)
        for file in "dataset.json", "shard-00000.json":
            manifest = json.load(open(folder + "/" + file))
            shard = manifest["shards"][0] if "shards" in manifest else manifest["shard"]
            shard["bytes"], shard["sha256"] = len(data), hashlib.sha256(data).hexdigest()
            if "totals" in manifest: manifest["totals"]["bytes"] = sum(shard["bytes"] for shard in manifest["shards"])
            json.dump(manifest, open(folder + "/" + file, "w"))
        END

        """#

    private func expect(_ script: String) throws {
        try withTemporaryDirectory { path in
            let result = try runShell("set -e\n" + Self.ids + Self.forge + script, directory: path)
            #expect(result.status == 0, "\(result.text) \(result.errors)")
        }
    }

    @Test func ranksAreReadAsIds() throws {
        try expect(
            #"""
            make() { tok-shard --format ids-text --vocab-size 100000 --shard-tokens 150000 --output "$@" ids; }
            make plain; make a --transform rank; make b --transform rank --threads 3
            diff -r a b
            tok-shard verify --deep a
            tok-shard cat --ids a | cmp - ids
            tok-shard cat --ids --document 170 a > one; tok-shard cat --ids --document 170 plain | cmp - one
            [ $(cat a/*.zst | wc -c) -lt $(cat plain/*.zst | wc -c) ]
            jq -e '.transform == "rank" and .dtype == "u32"' a/dataset.json; jq -e '.transform == "rank"' a/shard-00001.json
            tok-shard info a | grep -q '100000 ids, u32 as ranks'
            # The same rows, whatever packs them; cursors name the dataset.
            rows() { tok-pack "$@" --rows 4 --length 500 --to jsonl | jq -c 'del(.cursor)'; }
            for how in '--pack best-fit' '--pack concat' '--order full'; do
                rows $how plain > plain.rows; rows $how a | cmp - plain.rows
            done
            # Out and in again.
            tok-shard export --to npy --drop-boundaries --output out.npy a; tok-shard export --to npy --drop-boundaries --output want.npy plain; cmp out.npy want.npy
            # What LEB128 is: ids by a table at the index, in another language.
            python3 - <<'END'
            import struct, subprocess
            data = open("a/shard-00000.tok.zst", "rb").read()
            count = struct.unpack("<I", data[-9:-5])[0]
            sizes = [struct.unpack("<III", data[len(data) - 9 - 12 * (count - k):][:12])[0] for k in range(count)]
            index = data[sum(sizes[:-1]):]
            assert struct.unpack("<II", index[12:20]) == (2, 4)
            k = struct.unpack("<I", index[40:44])[0]
            table = list(struct.unpack(f"<{k}I", index[44:44 + 4 * k]))
            known = set(table)
            table += [i for i in range(100000) if i not in known]
            ids, rank, shift = [], 0, 0
            for byte in subprocess.run(["zstd", "-dc", "a/shard-00000.tok.zst"], capture_output=True, check=True).stdout:
                rank |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    ids.append(table[rank]); rank = shift = 0
            want = [int(word) for word in open("ids").read().split()]
            assert ids == want[:len(ids)] and len(ids) >= 150000
            END
            """#)
    }

    /// Parts with tables of their own merge; ranks and ids do not. Repair keeps ranks. A resumed run makes the same bytes.
    @Test func ranksMergeAndRepair() throws {
        try expect(
            #"""
            head -n 200 ids > x; tail -n 200 ids > y
            make() { tok-shard --format ids-text --vocab-size 100000 "$@"; }
            make --transform rank --output p0 --shard 0/2 x y; make --transform rank --output p1 --shard 1/2 x y; make --output q x
            tok-shard merge --output whole p0 p1
            tok-shard verify --deep whole; tok-shard cat --ids whole | cmp - ids
            jq -e '.transform == "rank"' whole/dataset.json
            make --transform rank --output r y
            ! tok-shard merge --output bad q r 2> said
            grep -qx "tok-shard: 'q' and 'r' differ in transform: none and rank" said
            ! make --resume --output r y 2> said; grep -q 'it was made with transform "rank", now asked for null' said
            python3 forge.py whole overlong
            tok-shard repair --output mended whole > said 2>&1 || [ $? = 1 ]
            grep -q 'is overlong' said
            tok-shard verify --deep mended; jq -e '.transform == "rank" and .totals.documents > 100' mended/dataset.json
            """#)
    }

    @Test(arguments: [
        ("overlong", "'d/shard-00000.tok.zst', frame 0 at byte 0: byte 0 of its content: rank 0 is overlong: "),
        (
            "high",
            "'d/shard-00000.tok.zst', frame 0 at byte 0: byte 0 of its content: rank 0 is 131071, not below the vocabulary size 100000"
        ),
        ("cut", "'d/shard-00000.tok.zst', frame 0 at byte 0: byte "),
        ("more", "'d/shard-00000.tok.zst', frame 0 at byte 0: byte "),
        ("digest", "bad checksum in 'd/shard-00000.tok.zst', index at byte "),
        ("twice", "'d/shard-00000.tok.zst' at byte "), ("large", "'d/shard-00000.tok.zst' at byte "),
        ("version", "'d/shard-00000.tok.zst' at byte "), ("plain", "'d/shard-00000.tok.zst' at byte "),
    ]) func badRanksAreNamed(change: String, message: String) throws {
        let reasons = [
            "cut": "is cut by the end of the frame", "more": "was not expected: the frame has 65536 ranks",
            "twice": "expected a rank table of different ids below the vocabulary size 100000",
            "large": "expected a rank table of at most ", "version": "expected index version 1 or 2, found 3",
            "plain": "does not fill its",
        ]
        try withTemporaryDirectory { path in
            let made = try runShell(
                "set -e\n" + Self.ids + Self.forge
                    + "tok-shard --format ids-text --vocab-size 100000 --transform rank --output d ids; python3 forge.py d \(change)",
                directory: path)
            try #require(made.status == 0, "\(made.errors)")
            for command in ["tok-shard cat --ids", "tok-pack --rows 1 --length 1000"] {
                let result = try runShell("\(command) d > out", directory: path)
                #expect(result.status == 65, "\(command): \(result.errors)")
                let tool = command.prefix { $0 != " " }
                #expect(result.errors.hasPrefix("\(tool): \(message)"), "\(command): \(result.errors)")
                #expect(result.errors.contains(reasons[change] ?? ""), "\(command): \(result.errors)")
            }
            let verify = try runShell("tok-shard verify d", directory: path)
            #expect(verify.status == 1)
            #expect((verify.text + verify.errors).contains(message))
        }
    }

    @Test(arguments: [
        (
            "--format ids-text --vocab-size 65536",
            "--transform rank is for vocabularies of 65537 to 16777216 ids, not 65536"
        ),
        (
            "--format ids-text --vocab-size 16777217",
            "--transform rank is for vocabularies of 65537 to 16777216 ids, not 16777217"
        ),
        ("--tokenizer bytes", "--transform rank is for vocabularies of 65537 to 16777216 ids, not 257"),
    ]) func smallVocabulariesHaveNoRanks(options: String, message: String) throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                "echo 1 2 > t; tok-shard \(options) --transform rank --output d t", directory: path)
            #expect(result.status == 64)
            #expect(result.errors == "tok-shard: \(message)\n")
            #expect(!exists(path + "/d"))
        }
    }
}
