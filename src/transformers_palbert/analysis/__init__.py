"""Compare and understand trained models: bootstrap confidence, timings, breakdowns, density pictures, a report page."""
