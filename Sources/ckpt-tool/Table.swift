// Columns for a person to read: padded to the widest cell, two spaces between, nothing after the last.

/// The rows as text, a line a row.
func table(_ rows: [[String]]) -> String {
    var widths: [Int] = []
    for row in rows {
        for (column, cell) in row.enumerated() {
            if column == widths.count { widths.append(0) }
            widths[column] = max(widths[column], cell.count)
        }
    }
    var text = ""
    for row in rows {
        for (column, cell) in row.enumerated() {
            text += cell
            if column < row.count - 1 { text += String(repeating: " ", count: widths[column] - cell.count + 2) }
        }
        text += "\n"
    }
    return text
}
