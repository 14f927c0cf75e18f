from data_pipeline.dedup.stage import require_current as require_current
from data_pipeline.dedup.stage import run as run
from data_pipeline.dedup.stage import try_thresholds as try_thresholds
