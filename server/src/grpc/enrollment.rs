//! `EnrollmentService`.

use proto::v1::enrollment_service_server::EnrollmentService;
use proto::v1::{EnrollRequest, EnrollResponse, RenewCertificateRequest, RenewCertificateResponse};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::app::enrolment::{Enrolment, Word};
use crate::grpc::error;
use crate::tls::identity;

/// Largest message: a CSR and a join token are a few KiB, and so is a cluster's token.
pub const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    enrolment: Enrolment,
}

impl Service {
    /// Over its use case.
    #[must_use]
    pub const fn new(enrolment: Enrolment) -> Self {
        Self { enrolment }
    }
}

#[tonic::async_trait]
impl EnrollmentService for Service {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let EnrollRequest { join_token, certificate_signing_request, executor_id, service_account_token } =
            request.into_inner();
        // The words are secrets: they are wiped when this returns.
        let word = match (Zeroizing::new(join_token), Zeroizing::new(service_account_token)) {
            (join_token, other) if other.is_empty() => Word::JoinToken(join_token),
            (none, token) if none.is_empty() => Word::ServiceAccount(token),
            (_, _) => {
                return Err(error::field(
                    "service_account_token",
                    "is not given beside a join_token: send one of them",
                ));
            }
        };
        let issued = self.enrolment.enrol(&word, &certificate_signing_request, &executor_id).await;
        let issued = issued.map_err(|error| error::status(&error))?;
        Ok(Response::new(EnrollResponse {
            certificate_chain: issued.certificate_chain,
            trust_bundle: issued.trust_bundle,
            executor: issued.executor.to_string(),
            uid: issued.uid.to_string(),
            not_after: Some(proto::convert::field::to_timestamp(issued.not_after)),
        }))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let identity = identity::executor(&request)?;
        let csr = request.into_inner().certificate_signing_request;
        let issued = self.enrolment.renew(&identity, &csr).await.map_err(|error| error::status(&error))?;
        Ok(Response::new(RenewCertificateResponse {
            certificate_chain: issued.certificate_chain,
            trust_bundle: issued.trust_bundle,
            not_after: Some(proto::convert::field::to_timestamp(issued.not_after)),
        }))
    }
}
