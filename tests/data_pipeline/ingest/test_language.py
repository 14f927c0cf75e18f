import pytest

from data_pipeline.ingest.language import identify


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The quick brown fox.", "en"),
        ("春眠不觉晓，处处闻啼鸟。", "zh"),
        ("安装 TensorFlow 之后导入 NumPy 即可开始训练模型", "zh"),
        ("これは日本語の文章です。漢字もあります。", "other"),
        ("Это русский текст.", "other"),
        ("12345 + 678", "other"),
        ("", "other"),
        ("中" * 20 + "a" * 80, "zh"),  # a fifth of the letters
        ("中" * 19 + "a" * 81, "en"),
        ("ж" * 20 + "a" * 80, "en"),
        ("ж" * 21 + "a" * 79, "other"),
        ("中" * 95 + "の" * 5, "zh"),
        ("中" * 94 + "の" * 6, "other"),
    ],
)
def test_language_by_script(text, language):
    assert identify(text) == language
