"""What comes back: for each image, its best classes or what went wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class of ImageNet.

    class_id: its WordNet id, such as `n02124075`.
    class_name: such as `Egyptian_cat`.
    probability: 0 to 1, over all 1000 classes.
    """

    class_id: str
    class_name: str
    probability: float


@dataclass(frozen=True, slots=True)
class Classification:
    """One image that was classified. `predictions`: `top_k` of them, best first."""

    name: str
    predictions: tuple[Prediction, ...]

    @property
    def best(self) -> Prediction:
        return self.predictions[0]


@dataclass(frozen=True, slots=True)
class Failure:
    """One image that was not classified.

    code: the service's, such as `undecodable_image`, or the client's own `unreadable_file`
        (it cannot be read here), `image_too_large` (it would not fit into a request) or
        `no_answer` (it was sent, repeatedly, and nothing came back).
    message: the same in words.
    """

    name: str
    code: str
    message: str


Result = Classification | Failure


@dataclass(frozen=True, slots=True)
class Status:
    """What the service says of itself.

    model_version: `imagenet1k-v1`, `sha256:<12 digits>`, `stand-in-...`, or `unknown` while no
        model is loaded.
    """

    is_ready: bool
    model_version: str
