//! A multipart form that a page of ours sent: forgery token first, then small fields, then, it may be, a file.
//!
//! Fields are read in the order of the form and nothing is held that has no limit. A file is never held: whoever takes it reads
//! it piece by piece.

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, FromRequestParts as _, Multipart, Request};

use crate::app::minisign::FILE_MAX;
use crate::app::release::upload::SIGNATURES_MAX;
use crate::web::Web;
use crate::web::error::{PageError, Said};
use crate::web::guard;
use crate::web::page::form::mistyped;
use crate::web::session::SignedIn;

/// Longest text of a field that is neither signature nor file, in bytes: a URL.
const TEXT_MAX: usize = 4 * 1024;

/// A multipart form of this session. Its first field, the forgery token, was read and is right.
#[derive(Debug)]
pub struct PostedFiles {
    /// Who sent it.
    pub by: SignedIn,
    /// The fields that follow.
    pub fields: Multipart,
}

/// What came before the file.
#[derive(Debug, Default)]
pub struct Small {
    /// Signature files.
    pub signatures: Vec<String>,
    /// Where the bytes are instead.
    pub external_url: String,
}

/// Why a field was not read.
#[derive(Debug)]
pub enum Unread {
    /// The form is not one of ours, or its connection was cut.
    Broken(PageError),
    /// Something in it is to be put right.
    Wrong(Said),
}

// === impl PostedFiles ===

impl FromRequest<Web> for PostedFiles {
    type Rejection = PageError;

    async fn from_request(request: Request, web: &Web) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let ours = guard::is_from_us(&parts.headers);
        let by = SignedIn::from_request_parts(&mut parts, web).await?;
        let fields = Multipart::from_request(Request::from_parts(parts, body), web).await;
        let mut fields = fields.map_err(|why| PageError::said(why.status(), &why.body_text()))?;
        let token = match fields.next_field().await.map_err(|why| broken(&why))? {
            Some(field) if field.name() == Some("forgery_token") => text(field, TEXT_MAX).await.unwrap_or_default(),
            Some(_) | None => String::new(),
        };
        let same = by.reader.believes(&token);
        if ours && same { Ok(Self { by, fields }) } else { Err(PageError::forged()) }
    }
}

// === impl Small ===

impl Small {
    /// Takes one field. The file is handed back: it is read by whoever passes it on.
    ///
    /// # Errors
    /// It is unknown, too long, or one too many; the form ended early.
    pub async fn take<'f>(&mut self, field: Field<'f>) -> Result<Option<Field<'f>>, Unread> {
        match field.name().unwrap_or_default() {
            "signature" => {
                let text = text(field, FILE_MAX).await?;
                // A file input in which nothing was chosen sends an empty file.
                if !text.is_empty() {
                    self.signatures.push(text);
                }
                if self.signatures.len() > SIGNATURES_MAX {
                    return Err(Unread::Wrong(mistyped(format!("at most {SIGNATURES_MAX} signatures are taken"))));
                }
            }
            "external_url" => text(field, TEXT_MAX).await?.trim().clone_into(&mut self.external_url),
            "file" => return Ok(Some(field)),
            other => {
                let shown: String = other.chars().take(80).collect();
                return Err(Unread::Wrong(mistyped(format!("the form has a field {shown:?} that is not known here"))));
            }
        }
        Ok(None)
    }
}

// === impl Unread ===

impl From<MultipartError> for Unread {
    fn from(why: MultipartError) -> Self {
        Self::Broken(broken(&why))
    }
}

/// A form that cannot be read any further.
fn broken(why: &MultipartError) -> PageError {
    PageError::said(why.status(), &why.body_text())
}

/// A field's text, if it is not longer than it may be.
async fn text(mut field: Field<'_>, max: usize) -> Result<String, Unread> {
    let name = field.name().unwrap_or_default().to_owned();
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await? {
        if bytes.len() + chunk.len() > max {
            let rule = format!("{name}: is longer than {max} bytes");
            return Err(Unread::Wrong(mistyped(rule)));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| Unread::Wrong(mistyped(format!("{name}: is not text"))))
}
