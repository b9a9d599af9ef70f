"""What an unlearned model still gives away, by ways that the evaluation sets do not ask."""
