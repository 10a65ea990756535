"""Hydra finds the configs of other packages, and those that a user names, wherever a config is composed."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from ..packages import config_folders


class OwnConfigs(SearchPathPlugin):
    """What `packages.config_folders` knows, behind the configs of this package."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in config_folders():
            search_path.append("torchatlas", f"file://{folder}")


Plugins.instance().register(OwnConfigs)
