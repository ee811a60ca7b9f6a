"""A*-PO as a plain library: no scheduler, no tracking, no storage service is imported here."""
