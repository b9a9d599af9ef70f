"""From responses to scores to cells. Pure: no files, no torch (``hf`` wraps ``evaluate``)."""
