"""Lines, paragraphs and sentences that many documents share."""
