// `--print-schedule`: the learning rates of a run before it begins, for eyes or for a script.

import Bytes
import CommandLine
import Metrics
import Optimizers
import Training

enum ScheduleListing {
    /// One line a step, `step` (as metrics.jsonl counts them, so 1 is the first) and `learning_rate`, tab-separated under
    /// their names; on a terminal a plot.
    static func write(_ recipe: TrainingRecipe, steps: Int) throws {
        let schedule = recipe.schedule
        if StandardOutput.isTerminal {
            let points = (0..<steps).map { Plot.Point(x: Double($0 + 1), y: schedule.rate(afterSteps: $0)) }
            let curve = Plot.Series(label: schedule.shape.rawValue, points: points, color: 0)
            let plot = Plot(
                title: "\(schedule.shape.rawValue) schedule", xTitle: "step", yTitle: "learning_rate", series: [curve])
            let width = StandardOutput.terminalWidth ?? 80
            return try FileSink.standardOutput.write(
                TextPlot([plot], width: width, height: 14, isColored: false).text + "\n")
        }
        var text = "step\tlearning_rate\n"
        for step in 0..<steps {
            text += "\(step + 1)\t\(schedule.rate(afterSteps: step))\n"
            if text.utf8.count > 1 << 16 {
                try FileSink.standardOutput.write(text)
                text = ""
            }
        }
        try FileSink.standardOutput.write(text)
    }
}
