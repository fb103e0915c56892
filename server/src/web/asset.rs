//! `/static/…`: our style and script, compiled in. The name carries the digest, so that a browser keeps them for ever and a
//! new server's pages ask for new ones. They are compressed once, when they are asked for first.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::tls::authority::sha256;
use crate::web::compress;

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

/// What is served.
static FILES: LazyLock<[File; 3]> = LazyLock::new(|| {
    [(&STYLE, &STYLE_PATH), (&SCRIPT, &SCRIPT_PATH), (&ICON, &ICON_PATH)].map(|(asset, path)| File {
        path,
        packed: compress::best(asset.bytes).ok(),
        asset,
    })
});

/// A file under its name.
struct File {
    asset: &'static Asset,
    path: &'static str,
    /// Compressed.
    packed: Option<Vec<u8>>,
}

// === impl Asset ===

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

async fn asset(Path(name): Path<String>, asked: HeaderMap) -> Response {
    let path = format!("/static/{name}");
    let found = FILES.iter().find(|file| file.path == path);
    let Some(File { asset, packed, .. }) = found else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let head = [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    let packed = packed.as_deref().filter(|_| compress::accepts(&asked));
    let mut answer = match packed {
        Some(packed) => (head, [(CONTENT_ENCODING, "gzip")], packed).into_response(),
        None => (head, asset.bytes).into_response(),
    };
    compress::vary(answer.headers_mut());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_gets_smaller() {
        for file in &*FILES {
            let packed = file.packed.as_ref().expect("memory");
            assert!(packed.len() < file.asset.bytes.len(), "{}", file.path);
        }
    }
}
