//! Every message: its type code and body, and back.

use bytes::{BufMut, Bytes, BytesMut};

use super::coding::{MAX_BODY, Reader};
use super::numbers::message_type;
use super::{bundle, hello};

use super::{
    AsyncMask, BundleCommand, BundleFlags, DecodeError, EncodeError, Features, FlowMod,
    FlowRemoved, MultipartReply, MultipartRequest, OfpError, PortDesc, PortReason, Versions,
};

/// A message without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `OFPT_HELLO`.
    Hello {
        /// What the peer speaks; `None` when it doesn't say, and all versions up to its header's count.
        versions: Option<Versions>,
    },
    /// `OFPT_ERROR`.
    Error(OfpError),
    /// `OFPT_ECHO_REQUEST`.
    EchoRequest(Bytes),
    /// `OFPT_ECHO_REPLY`, with what the request bore.
    EchoReply(Bytes),
    /// `OFPT_FEATURES_REQUEST`.
    FeaturesRequest,
    /// `OFPT_FEATURES_REPLY`.
    FeaturesReply(Features),
    /// `OFPT_SET_CONFIG`.
    SetConfig {
        /// `OFPC_FRAG_*`; 0 treats fragments like other packets.
        flags: u16,
        /// Bytes of a packet-in. On OVS's management socket anything but 0 lets asynchronous messages through at all.
        miss_send_len: u16,
    },
    /// `OFPT_SET_ASYNC`; what isn't named stays as it was.
    SetAsync(Vec<AsyncMask>),
    /// `OFPT_PORT_STATUS`.
    PortStatus {
        /// What happened.
        reason: PortReason,
        /// To which port.
        port: PortDesc,
    },
    /// `OFPT_FLOW_MOD`.
    FlowMod(FlowMod),
    /// `OFPT_FLOW_REMOVED`.
    FlowRemoved(FlowRemoved),
    /// `OFPT_MULTIPART_REQUEST`.
    MultipartRequest(MultipartRequest),
    /// `OFPT_MULTIPART_REPLY`.
    MultipartReply {
        /// Whether more parts follow under the same xid (`OFPMPF_REPLY_MORE`).
        more: bool,
        /// This part.
        body: MultipartReply,
    },
    /// `OFPT_BARRIER_REQUEST`.
    BarrierRequest,
    /// `OFPT_BARRIER_REPLY`: everything before the request is done.
    BarrierReply,
    /// `OFPT_BUNDLE_CONTROL`.
    BundleControl {
        /// The bundle's number, of the controller's choice.
        bundle_id: u32,
        /// What to do, or what was done.
        command: BundleCommand,
        /// How the bundle is carried out.
        flags: BundleFlags,
    },
    /// `OFPT_BUNDLE_ADD_MESSAGE`.
    BundleAdd {
        /// The bundle's number.
        bundle_id: u32,
        /// As they were when it was opened.
        flags: BundleFlags,
        /// What to do when it is committed; not a bundle message.
        message: Box<Self>,
    },
    /// Any other.
    Raw {
        /// `OFPT_*`.
        type_code: u8,
        /// What follows the header.
        body: Bytes,
    },
}

impl Message {
    /// Reads the message of type `type_code` whose header is followed by `body`.
    ///
    /// # Errors
    /// What is wrong with the body, and where.
    pub fn decode(type_code: u8, body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, message_type::name(type_code));
        let message = match type_code {
            message_type::HELLO => return Ok(Self::Hello { versions: hello::decode(reader)? }),
            message_type::ERROR => Self::Error(OfpError::decode(&mut reader)?),
            message_type::ECHO_REQUEST => Self::EchoRequest(Bytes::copy_from_slice(reader.rest())),
            message_type::ECHO_REPLY => Self::EchoReply(Bytes::copy_from_slice(reader.rest())),
            message_type::FEATURES_REQUEST => Self::FeaturesRequest,
            message_type::FEATURES_REPLY => Self::FeaturesReply(Features::decode(&mut reader)?),
            message_type::SET_CONFIG => {
                Self::SetConfig { flags: reader.u16()?, miss_send_len: reader.u16()? }
            }
            message_type::SET_ASYNC => return AsyncMask::decode_list(reader).map(Self::SetAsync),
            message_type::PORT_STATUS => {
                let reason = reader.u8()?.into();
                reader.skip(7)?;
                Self::PortStatus { reason, port: PortDesc::decode(&mut reader)? }
            }
            message_type::FLOW_MOD => return FlowMod::decode(reader).map(Self::FlowMod),
            message_type::FLOW_REMOVED => Self::FlowRemoved(FlowRemoved::decode(&mut reader)?),
            message_type::MULTIPART_REQUEST => {
                return MultipartRequest::decode(reader).map(Self::MultipartRequest);
            }
            message_type::MULTIPART_REPLY => {
                let (more, body) = MultipartReply::decode(reader)?;
                return Ok(Self::MultipartReply { more, body });
            }
            message_type::BARRIER_REQUEST => Self::BarrierRequest,
            message_type::BARRIER_REPLY => Self::BarrierReply,
            message_type::BUNDLE_CONTROL => bundle::decode_control(&mut reader)?,
            message_type::BUNDLE_ADD_MESSAGE => bundle::decode_add(&mut reader)?,
            _ => Self::Raw { type_code, body: Bytes::copy_from_slice(reader.rest()) },
        };
        reader.finish()?;
        Ok(message)
    }

    /// `OFPT_*` of the header.
    #[must_use]
    pub const fn type_code(&self) -> u8 {
        match self {
            Self::Hello { .. } => message_type::HELLO,
            Self::Error(_) => message_type::ERROR,
            Self::EchoRequest(_) => message_type::ECHO_REQUEST,
            Self::EchoReply(_) => message_type::ECHO_REPLY,
            Self::FeaturesRequest => message_type::FEATURES_REQUEST,
            Self::FeaturesReply(_) => message_type::FEATURES_REPLY,
            Self::SetConfig { .. } => message_type::SET_CONFIG,
            Self::SetAsync(_) => message_type::SET_ASYNC,
            Self::PortStatus { .. } => message_type::PORT_STATUS,
            Self::FlowMod(_) => message_type::FLOW_MOD,
            Self::FlowRemoved(_) => message_type::FLOW_REMOVED,
            Self::MultipartRequest(_) => message_type::MULTIPART_REQUEST,
            Self::MultipartReply { .. } => message_type::MULTIPART_REPLY,
            Self::BarrierRequest => message_type::BARRIER_REQUEST,
            Self::BarrierReply => message_type::BARRIER_REPLY,
            Self::BundleControl { .. } => message_type::BUNDLE_CONTROL,
            Self::BundleAdd { .. } => message_type::BUNDLE_ADD_MESSAGE,
            Self::Raw { type_code, .. } => *type_code,
        }
    }

    /// Appends what follows the header; `xid` is that of the header, for a message within.
    ///
    /// # Errors
    /// Why the message cannot be put on the wire; `body` is as it was then.
    pub fn encode(&self, xid: u32, body: &mut BytesMut) -> Result<(), EncodeError> {
        let start = body.len();
        let result = self.encode_body(xid, body).and_then(|()| match body.len() - start {
            0..=MAX_BODY => Ok(()),
            length => {
                let what = message_type::name(self.type_code());
                Err(EncodeError::TooLong { what, length, limit: MAX_BODY })
            }
        });
        if result.is_err() {
            body.truncate(start);
        }
        result
    }

    fn encode_body(&self, xid: u32, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::FeaturesRequest | Self::BarrierRequest | Self::BarrierReply => {}
            Self::Hello { versions } => hello::encode(*versions, out),
            Self::Error(error) => error.encode(out),
            Self::EchoRequest(data) | Self::EchoReply(data) | Self::Raw { body: data, .. } => {
                out.put_slice(data);
            }
            Self::FeaturesReply(features) => features.encode(out),
            Self::SetConfig { flags, miss_send_len } => {
                out.put_u16(*flags);
                out.put_u16(*miss_send_len);
            }
            Self::SetAsync(masks) => masks.iter().for_each(|mask| mask.encode(out)),
            Self::PortStatus { reason, port } => {
                out.put_u8((*reason).into());
                out.put_bytes(0, 7);
                port.encode(out)?;
            }
            Self::FlowMod(flow_mod) => flow_mod.encode(out)?,
            Self::FlowRemoved(removed) => removed.encode(out)?,
            Self::MultipartRequest(request) => request.encode(out)?,
            Self::MultipartReply { more, body } => body.encode(*more, out)?,
            Self::BundleControl { bundle_id, command, flags } => {
                out.put_u32(*bundle_id);
                out.put_u16(*command as u16);
                out.put_u16(flags.bits());
            }
            Self::BundleAdd { bundle_id, flags, message } => {
                bundle::encode_add(*bundle_id, *flags, message, xid, out)?;
            }
        }
        Ok(())
    }
}
