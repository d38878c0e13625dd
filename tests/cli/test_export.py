from tests.cli.checks import refused, usage


def test_export_refuses(capsys, tmp_path):
    refused(capsys, ["export", tmp_path / "missing"], "there is no folder")
    refused(capsys, ["export", tmp_path], "holds no statistics")
    (tmp_path / "run.json").write_text("{}")
    refused(capsys, ["export", tmp_path], "holds an unfinished run: collect again with the same arguments")
    (tmp_path / "metadata.json").write_text("{}")
    refused(capsys, ["export", tmp_path], "are damaged")


def test_export_usage(capsys):
    usage(capsys, ["export"])
    usage(capsys, ["export", "out", "--to", "xlsx"])
