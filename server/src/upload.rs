//! `/upload/<sha256>`: an agent's binary into a draft, over plain HTTP, from where it was cut. For curl and the release page.
//!
//! A partial PUT (RFC 9110, 14.5) with the two answers of draft-ietf-httpbis-resumable-upload that say how far it is, and no more
//! of that draft. `curl -T FILE -C OFFSET` speaks it. `<sha256>` is 64 lower-case hexadecimal digits.
//!
//! ```text
//! who     authorization: Bearer nvt_…                      a publisher's; a cookie beside it is not looked at
//!    or   cookie, and x-novacula-forgery-token: <word>     the browser: Reader::forgery_token of its session, HEAD as well as PUT
//!
//! HEAD /upload/<sha256>                                    how much is here?
//!   200   upload-offset: 4096      upload-complete: ?0     the first 4,096 bytes; 0 when there is none
//!   200   upload-offset: 10000     upload-complete: ?1     all of them
//!
//! PUT /upload/<sha256>?release=releases/agent-1.2.0&platform=linux/amd64&file=novacula-agent
//!   content-length: 10000                                  everything; what came before is dropped
//!   content-range: bytes 4096-9999/10000                   from byte 4,096 on; 9,999 may be any byte before the end, too
//!   content-range: bytes */10000                           nothing more: take what is complete already, as HEAD said. No body
//!   200   upload-complete: ?1, and the release as JSON     digest and size are right; the draft has the artifact
//!   202   upload-offset: 8192      upload-complete: ?0     these are here, and the end is to come
//!   409   upload-offset: 4096      upload-complete: ?0     it goes on at another byte than the request: send from there
//!   409   DIGEST_MISMATCH                                  other bytes: they are gone, begin again (or with the right name)
//!   409   ALREADY_EXISTS, RELEASE_YANKED, KIND_MISMATCH    the release is no draft for agents
//!   400   a field that may not be so (size, file, platform, release, content-range), by its name
//!   401   TOKEN_INVALID                                    no token, or none that is valid; sign in again
//!   403   ROLE_REQUIRED, or a forged request               not a publisher; no forgery token of this session
//!   404   NOT_FOUND                                        no such release, or no digest in the path
//!   429   RATE_LIMITED, 503 UNAVAILABLE                    with retry-after in seconds. 503: no room, or somebody else sends the same
//! ```
//!
//! What is refused is told as by every door: `{"code": …, "message": …, "details": […]}`. A request that is cut leaves
//! its bytes; they are forgotten after a day. A PUT is one call of `UploadArtifact`: same role, same limits, same checks, same
//! row in the feed. Signatures follow with `AddReleaseSignature`; one that the artifact of this platform had is gone with it.
