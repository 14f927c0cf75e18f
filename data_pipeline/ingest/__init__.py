from data_pipeline.ingest.stage import run as run
