"""Is a step of Millrace the step that the formulas ask for? See README.md beside this file."""
