"""Data sets of the Hugging Face hub, each mirrored as one Parquet file."""

from __future__ import annotations

from pathlib import Path

from apo_core.data.entries import HubAddress, hub_address
from apo_core.errors import StageFailed, StageRefused


class HubDataset:
    """A `tasks.prompts.mirrors.Remote` whose version is the commit that the revision means now."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._address = hub_address(text)

    def version(self) -> str:
        """The commit that the revision means now."""
        from httpx2 import HTTPError
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        try:
            dataset = HfApi().dataset_info(self._address.name, revision=self._address.revision)
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise StageRefused(f"{self._text}: {str(error).splitlines()[0]}") from None
        except (OSError, HTTPError) as error:
            raise StageFailed(f"{self._text}: cannot be reached: {str(error).splitlines()[0]}") from None
        return str(dataset.sha)

    def download(self, version: str, file: Path) -> None:
        """Write the split as it is at that commit."""
        export_split(self._text, self._address._replace(revision=version), file)


def export_split(text: str, address: HubAddress, file: Path) -> None:
    """Write one split of a data set as Parquet; the data set is on the hub or in a directory.

    Args:
        text: names the data set in errors.
        address: of the data set; where it names no split, the data set must have only one.
        file: to be written.

    Raises:
        StageRefused: there is no such split or configuration.
        StageFailed: the hub cannot be reached.
    """
    import datasets
    from httpx2 import HTTPError

    try:
        loaded = datasets.load_dataset(
            address.name, address.config, revision=address.revision, split=address.split
        )
    except (ValueError, FileNotFoundError) as error:  # an unknown split or configuration; no data files
        raise StageRefused(f"{text}: {str(error).splitlines()[0]}") from None
    except (OSError, HTTPError, datasets.exceptions.DatasetsError) as error:
        raise StageFailed(f"{text}: cannot be downloaded: {str(error).splitlines()[0]}") from None
    if isinstance(loaded, datasets.DatasetDict):
        if len(loaded) > 1:
            raise StageRefused(f"{text}: has several splits; name one: {', '.join(loaded)}")
        (loaded,) = loaded.values()
    loaded.to_parquet(str(file))
