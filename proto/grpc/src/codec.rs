//! Bytes to domain types and back, in one place: a malformed message ends here, as INVALID_ARGUMENT with the field's path.

use std::marker::PhantomData;

use prost::Message;
use proto::wire::Wire;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

/// The codec of every service: `T` goes out, `U` comes in.
pub struct DomainCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for DomainCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for DomainCodec<T, U>
where
    T: Wire + Send + 'static,
    U: Wire + Send + 'static,
    U::Message: Send,
{
    type Encode = T;
    type Decode = U;
    type Encoder = DomainEncoder<T>;
    type Decoder = DomainDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        DomainEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        DomainDecoder(PhantomData)
    }
}

/// Writes domain types.
pub struct DomainEncoder<T>(PhantomData<T>);

impl<T: Wire> Encoder for DomainEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.to_wire().encode(dst).map_err(|error| Status::new(Code::Internal, error.to_string()))
    }
}

/// Reads domain types.
pub struct DomainDecoder<U>(PhantomData<U>);

impl<U: Wire> Decoder for DomainDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let message = U::Message::decode(src)
            .map_err(|error| Status::new(Code::InvalidArgument, format!("not such a message: {error}")))?;
        let item =
            U::from_wire(message).map_err(|bad| Status::new(Code::InvalidArgument, bad.to_string()))?;
        Ok(Some(item))
    }
}
