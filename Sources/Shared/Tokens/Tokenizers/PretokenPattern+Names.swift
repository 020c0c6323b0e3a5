// Patterns by what files call them: the exact text of their regular expressions. A scanner is written for each family;
// an expression that is not here is refused, because one that is almost the same cuts text almost the same.

internal import Bytes

extension PretokenPattern {
    private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    private static let spaces = #"\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let upper = #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
    private static let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#

    /// What a ByteLevel pre-tokenizer with `use_regex` cuts by.
    static let byteLevel = PretokenPattern.gpt2

    /// By the text of the expression, with \r and \n written as escapes. Those of tiktoken's own source are not among them:
    /// Oniguruma, which `tokenizers` uses, reads `{1,3}+` and `$` otherwise.
    private static let expressions: [String: PretokenPattern] = [
        #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#: .gpt2,
        #"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#: .gpt2,
        contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + spaces: .cl100k,
        contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + spaces: .qwen,
        upper + "*" + lower + "+" + contractions + "?|" + upper + "+" + lower + "*" + contractions
            + #"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"# + spaces: .o200k,
        upper + "*" + lower + "+|" + upper + "+" + lower + #"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"# + spaces: .tekken,
    ]

    /// The expressions of DeepSeek V3, one after the other.
    private static let deepseekExpressions = [
        #"\p{N}{1,3}"#, "[一-龥\u{3040}-ゟ゠-ヿ]+",
        ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"##
            + spaces,
    ]

    /// The expressions that are applied one after the other, for a file that is to be written; nil for that of ByteLevel,
    /// empty when no such file can say them.
    var expressionsToWrite: [String]? {
        if self == PretokenPattern.byteLevel { return nil }
        if self == .deepseek { return PretokenPattern.deepseekExpressions }
        return PretokenPattern.expressions.filter { $0.value == self }.map(\.key)
    }

    /// The pattern of expressions that are applied one after the other; nil when there is none.
    init?(expressions texts: [String]) {
        let escaped = texts.map { text in
            var result = String.UnicodeScalarView()
            for scalar in text.unicodeScalars {
                switch scalar {
                case "\r": result.append(contentsOf: #"\r"#.unicodeScalars)
                case "\n": result.append(contentsOf: #"\n"#.unicodeScalars)
                default: result.append(scalar)
                }
            }
            return String(result)
        }
        if escaped == PretokenPattern.deepseekExpressions {
            self = .deepseek
        } else if escaped.count == 1, let found = PretokenPattern.expressions[escaped[0]] {
            self = found
        } else {
            return nil
        }
    }
}
