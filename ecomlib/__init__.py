"""A shop, one order, and every pattern of event-driven architecture, in code that can be read in an afternoon."""
