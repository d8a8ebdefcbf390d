"""The chain's figures: functions that take tables and return matplotlib figures, all in one style."""
