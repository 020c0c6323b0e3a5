// Where chat templates are: transformers has them in a file of their own today, in tokenizer_config.json before, GGUF under a key.

internal import Bytes

enum ChatTemplate {
    /// GGUF's.
    static let key = "tokenizer.chat_template"
    static let fileName = "chat_template.jinja"

    static func file(_ text: String) -> ForeignModel.SideFile {
        ForeignModel.SideFile(name: fileName) { () throws(Fault) in Array(text.utf8) }
    }

    /// The model's template as transformers takes it: of its own file first. Of several, the one named `default`.
    static func text(of model: ForeignModel) throws(Fault) -> (text: String?, notes: [String]) {
        if let file = model.sideFiles.first(where: { $0.name == fileName }) {
            guard let text = String(validating: try file.content(), as: UTF8.self) else {
                throw .badData(model.path(of: file), "expected UTF-8, found something else")
            }
            return (text, [])
        }
        for name in ["tokenizer_config.json", "chat_template.json"] {
            guard let file = model.sideFiles.first(where: { $0.name == name }),
                let found = try JSON(parsing: file.content(), name: model.path(of: file))["chat_template"],
                !found.isNull
            else { continue }
            if let text = found.stringValue { return (text, []) }
            var text: String?
            var notes: [String] = []
            for named in found.arrayValue ?? [] {
                let name = named["name"]?.stringValue ?? ""
                if name == "default" {
                    text = named["template"]?.stringValue
                } else {
                    notes.append("its chat template \(quoted(name)) is left out: one goes along, 'default'")
                }
            }
            return (text, notes)
        }
        return (nil, [])
    }
}
