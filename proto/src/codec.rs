//! Protobuf as gRPC carries it, with small buffers.
//!
//! A stream's two buffers are made when it opens and stay until it ends, and a control plane holds a stream for each
//! executor, most of the time without a word on it. tonic starts them at 8 KiB; ours hold an everyday message and grow for a
//! larger one.

use std::marker::PhantomData;

use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// What a buffer starts with, in bytes: a hello is about 300, a heartbeat 4. A desired with its manifest, about 600, grows it.
const START_BYTES: usize = 512;

/// How much is encoded before it is handed on, in bytes: tonic's own.
const YIELD_BYTES: usize = 32 * 1024;

/// The codec of every generated client and service: `T` is encoded, `U` is decoded.
#[derive(Clone, Debug)]
pub struct Prost<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Prost<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Prost<T, U>
where
    T: prost::Message + Send + 'static,
    U: prost::Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(START_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(START_BYTES, YIELD_BYTES))
    }
}
