//! One file's bytes over as many responses as it takes.

use std::io::SeekFrom;
use std::path::PathBuf;

use domain::attempt::{ErrorCode, Stage};
use http::StatusCode;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE, TRANSFER_ENCODING,
};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, Instant};

use super::file::{TemporaryFile, failure};
use super::source::{Source, broken_rule};
use crate::executor::Failure;
use crate::report;

/// Buffer between the network and the disk.
const BUFFER: usize = 64 * 1024;

/// Why a response came to an end before the file did.
pub(super) enum Broken {
    /// It is of no use to ask again.
    Fatal(Failure),
    /// The next response may go on.
    Again(String),
}

/// The bytes so far.
pub(super) struct Body {
    file: File,
    path: PathBuf,
    size: u64,
    have: u64,
    /// Names the bytes that we have some of; only a strong one says that the rest belongs to them.
    etag: Option<HeaderValue>,
    /// The most there ever were: bytes fetched again after a new start are not new.
    most: u64,
    last_byte: Instant,
    pace: Option<Pace>,
}

impl Body {
    pub(super) fn new(temporary: &TemporaryFile, size: u64, bytes_per_second: Option<u64>) -> Result<Self, Failure> {
        let mut file = File::from_std(temporary.second_handle()?);
        file.set_max_buf_size(BUFFER);
        let pace = bytes_per_second.map(Pace::new);
        Ok(Self {
            file,
            path: temporary.path().to_owned(),
            size,
            have: 0,
            etag: None,
            most: 0,
            last_byte: Instant::now(),
            pace,
        })
    }

    /// How many bytes are there.
    pub(super) const fn have(&self) -> u64 {
        self.have
    }

    /// How many were there at most.
    pub(super) const fn most(&self) -> u64 {
        self.most
    }

    pub(super) const fn last_byte(&self) -> Instant {
        self.last_byte
    }

    /// Everything is there: out of the buffer.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        self.file.flush().await.map_err(|error| failure("write", &self.path, &error))
    }

    /// One response: asks for what is missing and takes it in.
    pub(super) async fn get(&mut self, source: &Source, progress: &mut (impl FnMut(u64) + Send)) -> Result<(), Broken> {
        if self.have > 0 && self.etag.is_none() {
            self.start_over().await?;
        }
        let mut request = source.client.get(source.url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(etag) = self.etag.as_ref().filter(|_| self.have > 0) {
            request = request.header(RANGE, format!("bytes={}-", self.have)).header(IF_RANGE, etag);
        }
        let answer = request.send().await;
        let mut response = answer.map_err(|error| match broken_rule(source, &error) {
            Some(failure) => Broken::Fatal(failure),
            None => Broken::Again(report::chain(&error)),
        })?;
        source.check_peer(response.remote_addr()).map_err(Broken::Fatal)?;
        self.begin(response.status(), response.headers()).await?;
        if let Some(length) = response.content_length() {
            self.check_length(length)?;
        }
        // A body in chunks says where it ends; one that ends with the connection may have been cut.
        let ends_itself = response.headers().contains_key(TRANSFER_ENCODING);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => self.take(&chunk, progress).await?,
                Ok(None) if self.have == self.size => return Ok(()),
                Ok(None) if ends_itself => return Err(self.truncated(self.have)),
                Ok(None) => {
                    return Err(Broken::Again(format!("the body ended after {} of {} bytes", self.have, self.size)));
                }
                Err(error) => return Err(Broken::Again(report::chain(&error))),
            }
        }
    }

    /// Judges a response's head; afterwards the file stands where its body begins.
    async fn begin(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<(), Broken> {
        if let Some(encoding) = headers.get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            let message = format!(
                "the server encodes the body as {encoding:?}, which is not what was signed; nothing is unpacked"
            );
            return Err(refused(ErrorCode::HttpStatus, message));
        }
        match status {
            StatusCode::OK => {
                // The whole file: either the first time, or because it is another one than we have some of.
                if self.have > 0 {
                    self.start_over().await?;
                }
                self.etag = strong_etag(headers);
                Ok(())
            }
            StatusCode::PARTIAL_CONTENT => self.resume(headers).await,
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.start_over().await?;
                Err(Broken::Again("the server does not have the rest of what it sent before".to_owned()))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Err(Broken::Again(format!("the server answered {status}")))
            }
            status if status.is_server_error() => Err(Broken::Again(format!("the server answered {status}"))),
            status if status.is_redirection() => Err(refused(
                ErrorCode::UrlNotAllowed,
                format!("the server answered {status}; this redirect is not followed"),
            )),
            status => {
                let message = format!("the server answered {status}");
                Err(Broken::Fatal(Failure::failed(Stage::Download, ErrorCode::HttpStatus, message)))
            }
        }
    }

    async fn resume(&mut self, headers: &HeaderMap) -> Result<(), Broken> {
        let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let wanted = format!("bytes {}-{}/{}", self.have, self.size.saturating_sub(1), self.size);
        // A server that ignores If-Range would give the rest of another file; one that leaves the ETag out says nothing.
        let same = headers.get(ETAG).is_none_or(|etag| Some(etag) == self.etag.as_ref());
        if self.have > 0 && same && range == Some(wanted.as_str()) {
            return Ok(());
        }
        self.start_over().await?;
        Err(Broken::Again(format!(
            "the server goes on with another file (range {range:?}, expected {wanted:?}); starting over"
        )))
    }

    fn check_length(&self, length: u64) -> Result<(), Broken> {
        let total = self.have.saturating_add(length);
        match total.cmp(&self.size) {
            std::cmp::Ordering::Greater => Err(self.too_large()),
            std::cmp::Ordering::Less => Err(self.truncated(total)),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    async fn take(&mut self, chunk: &[u8], progress: &mut (impl FnMut(u64) + Send)) -> Result<(), Broken> {
        let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if length == 0 {
            return Ok(());
        }
        if self.have.saturating_add(length) > self.size {
            return Err(self.too_large());
        }
        self.file.write_all(chunk).await.map_err(|error| Broken::Fatal(failure("write", &self.path, &error)))?;
        self.have += length;
        if let Some(pace) = &mut self.pace {
            pace.wait(length).await;
        }
        if self.have > self.most {
            self.most = self.have;
            self.last_byte = Instant::now();
        }
        progress(self.have);
        Ok(())
    }

    async fn start_over(&mut self) -> Result<(), Broken> {
        let failed = |error| Broken::Fatal(failure("start over in", &self.path, &error));
        self.file.flush().await.map_err(failed)?;
        self.file.set_len(0).await.map_err(failed)?;
        self.file.seek(SeekFrom::Start(0)).await.map_err(failed)?;
        self.have = 0;
        self.etag = None;
        Ok(())
    }

    fn too_large(&self) -> Broken {
        refused(ErrorCode::TooLarge, format!("the server sends more than the {} bytes that were signed", self.size))
    }

    fn truncated(&self, found: u64) -> Broken {
        refused(ErrorCode::Truncated, format!("the server has {found} bytes, and {} were signed", self.size))
    }
}

fn refused(code: ErrorCode, message: String) -> Broken {
    Broken::Fatal(Failure::refused(Stage::Download, code, message))
}

fn strong_etag(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\"")).cloned()
}

/// Holds a download to a rate, averaged from its beginning; a pause is not caught up by a burst of more than a second.
struct Pace {
    bytes_per_second: u64,
    due: Instant,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), due: Instant::now() }
    }

    async fn wait(&mut self, bytes: u64) {
        let earliest = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or(self.due);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        self.due = self.due.max(earliest) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        tokio::time::sleep_until(self.due).await;
    }
}
