//! Style sheets, scripts and pictures: part of the binary, served under an address that changes with their contents.

use std::sync::LazyLock;

use actix_web::http::header::{self, EntityTag, HeaderValue, IfNoneMatch};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use sha2::{Digest as _, Sha256};

use crate::web::error::{Answer, not_found};

/// Hex digits of the content's hash in the address.
const HASH_LENGTH: usize = 16;

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    hash: String,
    url: String,
}

macro_rules! assets {
    ($($name:literal),+ $(,)?) => {
        vec![$(asset($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/static/", $name)))),+]
    };
}

/// Every file of `static/`; a test compares the list with the folder.
static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    assets![
        "chart.js",
        "headroom.css",
        "keyboard.js",
        "live.js",
        "logo.svg",
        "theme.js",
        "vendor/uplot/LICENSE",
        "vendor/uplot/uPlot.iife.min.js",
        "vendor/uplot/uPlot.min.css",
    ]
});

fn asset(name: &'static str, bytes: &'static [u8]) -> Asset {
    let mut hash = hex::encode(Sha256::digest(bytes));
    hash.truncate(HASH_LENGTH);
    Asset {
        name,
        kind: kind(name),
        bytes,
        url: format!("/static/{hash}/{name}"),
        hash,
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit(['.', '/']).next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt" | "vendor/uplot/LICENSE") => "text/plain; charset=utf-8",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

/// The address of a file of `static/`; for templates. A name that is not there gives an address that answers 404, and fails the test that renders every page.
pub fn url(name: &str) -> &'static str {
    ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .map_or("/static/missing", |asset| asset.url.as_str())
}

/// `GET /static/{hash}/{name}`. A page loaded before an upgrade asks with the old hash: it gets the present file, not to be kept.
///
/// # Errors
/// 404 when there is no such file.
pub async fn serve(path: web::Path<(String, String)>, req: HttpRequest) -> Answer {
    let (hash, name) = path.into_inner();
    let asset = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .ok_or_else(not_found)?;
    let tag = EntityTag::new_strong(asset.hash.clone());
    let unchanged = match req.get_header::<IfNoneMatch>() {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        None => false,
    };
    let keep = if hash == asset.hash {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut answer = if unchanged {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    answer
        .insert_header(header::ETag(tag))
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static(keep)));
    Ok(if unchanged {
        answer.finish()
    } else {
        answer.content_type(asset.kind).body(asset.bytes)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_is_what_stands_in_the_folder() {
        let mut found = BTreeSet::new();
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/static");
        let mut folders = vec![std::path::PathBuf::from(root)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(root).unwrap();
                    found.insert(name.to_str().unwrap().to_owned());
                }
            }
        }
        let listed = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn the_address_carries_the_hash_of_the_contents() {
        let address = url("headroom.css");
        let hash = hex::encode(Sha256::digest(
            std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/static/headroom.css")).unwrap(),
        ));
        assert_eq!(
            address,
            format!("/static/{}/headroom.css", &hash[..HASH_LENGTH])
        );
    }
}
