"""Results in, figures, tables and pages out: nothing here measures, and the same input gives the same bytes."""
