"""The Flask server that the service replaces: each photo through the model by itself.

`python -m benchmarks.peers.flask.server PORT` runs it as it was, on Werkzeug's threaded
server; gunicorn takes `create_app()`. There is no batching to recommend: Flask has none.
"""

import os
import sys

from flask import Flask, request

from benchmarks.peers.network import Network, Prediction


def create_app() -> Flask:
    app = Flask(__name__)
    network = Network(channels_last=os.environ.get("PEER_CHANNELS_LAST") == "1")

    @app.route("/predict", methods=["GET", "POST"])
    def predict() -> dict[str, Prediction]:
        answer = {}
        for file in request.files.getlist("file"):
            (answer[file.filename or "file"],) = network.classify([network.prepare(file.read())])
        return answer

    return app


if __name__ == "__main__":
    create_app().run("127.0.0.1", int(sys.argv[1]), threaded=True)
