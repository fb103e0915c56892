//! `/static/…`: our style and script, compiled in. The name carries the digest, so that a browser keeps them for ever and a
//! new server's pages ask for new ones.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::tls::authority::sha256;

/// Digits of the digest in a name: enough that no two versions share one.
const DIGITS: usize = 12;

/// One file.
struct Asset {
    stem: &'static str,
    extension: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const STYLE: Asset = Asset {
    stem: "novacula",
    extension: "css",
    kind: "text/css; charset=utf-8",
    bytes: include_bytes!("../../static/novacula.css"),
};

const SCRIPT: Asset = Asset {
    stem: "novacula",
    extension: "js",
    kind: "text/javascript; charset=utf-8",
    bytes: include_bytes!("../../static/novacula.js"),
};

const ICON: Asset =
    Asset { stem: "icon", extension: "svg", kind: "image/svg+xml", bytes: include_bytes!("../../static/icon.svg") };

/// Where the style is.
pub static STYLE_PATH: LazyLock<String> = LazyLock::new(|| STYLE.path());

/// Where the script is.
pub static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| SCRIPT.path());

/// Where the icon is.
pub static ICON_PATH: LazyLock<String> = LazyLock::new(|| ICON.path());

impl Asset {
    fn path(&self) -> String {
        let digest = sha256(self.bytes).to_string();
        let digest = digest.get(..DIGITS).unwrap_or(&digest);
        format!("/static/{}-{digest}.{}", self.stem, self.extension)
    }
}

/// The routes. They need no session: the sign-in page uses them.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/static/{name}", get(asset))
}

async fn asset(Path(name): Path<String>) -> Response {
    let path = format!("/static/{name}");
    let found = [(&STYLE, &STYLE_PATH), (&SCRIPT, &SCRIPT_PATH), (&ICON, &ICON_PATH)]
        .into_iter()
        .find(|(_, known)| ***known == path);
    match found {
        Some((asset, _)) => {
            ([(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")], asset.bytes)
                .into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    }
}
