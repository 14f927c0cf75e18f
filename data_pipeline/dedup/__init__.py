from data_pipeline.dedup.stage import run as run
