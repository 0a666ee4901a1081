"""`/openapi.json` and `/docs`: the description of the routes, and a page that shows it."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from deployments.ingress.http.api_document import describe_api

# Relative addresses, so that the page works behind a prefix, too. A browser cannot send the
# body of a GET, so the page leaves that one out.
_DOCS_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>densenet-serve: API</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<link rel="icon" href="docs/assets/favicon.png">
<style>
@media (max-width: 40rem) { /* a section's description goes below its title */
  .swagger-ui .opblock-tag { flex-wrap: wrap; }
  .swagger-ui .opblock-tag small { flex-basis: 100%; order: 1; padding: 0; }
}
.back { max-width: 1460px; margin: 0 auto; padding: 1rem 20px 0; font: 1rem sans-serif; }
</style>
</head>
<body>
<p class="back"><a href=".">The page for people</a></p>
<div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script>
fetch("openapi.json").then((response) => response.json()).then((spec) => {
  delete spec.paths["/predict"].get;
  spec.servers = [{url: new URL(".", location.href).pathname.replace(/\\/$/, "") || "/"}];
  SwaggerUIBundle({spec, dom_id: "#swagger-ui", deepLinking: true});
});
</script>
</body>
</html>
"""


def openapi_routes(wants_key: bool) -> list[BaseRoute]:
    document = describe_api(wants_key)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    async def docs(_: Request) -> Response:
        return HTMLResponse(_DOCS_PAGE)

    # The package has Swagger UI's files; importing it would bring FastAPI.
    assets = StaticFiles(packages=[("fastapi_offline", "static")])
    return [
        Route("/openapi.json", openapi),
        Mount("/docs/assets", assets),
        Route("/docs", docs),
    ]
