// `--print-schedule`: the learning rates of a run before it begins, for eyes or for a script.

import Bytes
import CommandLine
import Optimizers
import Training

enum ScheduleListing {
    /// One line a step, `step` (as metrics.jsonl counts them, so 1 is the first) and `learning_rate`, tab-separated under
    /// their names.
    static func write(_ recipe: TrainingRecipe, steps: Int) throws {
        let schedule = recipe.schedule
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
