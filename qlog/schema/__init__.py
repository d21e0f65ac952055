"""JSON Schemas of qlog: tables that follow the drafts, the files made of them, and what checks by them."""
