"""Lower bounds from dual vectors: estimated, and proved with outward rounding."""
