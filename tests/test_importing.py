"""What a setting names as `module:callable`, and what is said where it cannot be had."""

import pytest

from apd.errors import ConfigError
from apd.importing import import_callable


def test_dots_lead_into_classes(tmp_path, monkeypatch):
    (tmp_path / "mine_nested.py").write_text("class Outer:\n    class Net: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert import_callable("network", "mine_nested:Outer.Net").__qualname__ == "Outer.Net"
    for name in ("Outer.Nest", "Other.Net"):
        with pytest.raises(ConfigError, match=f"module 'mine_nested' has no '{name}'; expected a callable"):
            import_callable("network", f"mine_nested:{name}")


@pytest.mark.parametrize("error", ["NameError", "RuntimeError", "ImportError", "OSError"])
def test_what_a_module_raises_is_named(tmp_path, monkeypatch, error):
    (tmp_path / f"mine_{error}.py").write_text(f"raise {error}('half done')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"importing module 'mine_{error}' failed: {error}: half done"):
        import_callable("network", f"mine_{error}:make")
