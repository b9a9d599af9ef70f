"""From a scored run to a record, a terminal table and a page. Pure: no model is run here."""
