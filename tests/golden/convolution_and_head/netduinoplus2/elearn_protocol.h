/* The wire protocol: message types, codes, and the offset of each field in its payload.
 * Generated from edgelearn/protocol.py; do not edit. */
#ifndef ELEARN_PROTOCOL_H
#define ELEARN_PROTOCOL_H

#define ELEARN_PROTOCOL_VERSION 4u
#define ELEARN_FRAME_HEADER_BYTES 6u
#define ELEARN_FRAME_CRC_BYTES 4u
#define ELEARN_READING 0x80000000u /* sequence numbers of requests that only read have this bit */

/* Requests are below 0x80; a reply is its request's type + 0x80. ACK answers what has no reply of its own. */
#define ELEARN_MSG_HELLO 1u
#define ELEARN_MSG_SAMPLE 2u
#define ELEARN_MSG_READ 3u
#define ELEARN_MSG_WRITE 4u
#define ELEARN_MSG_RESET_HEAD 5u
#define ELEARN_MSG_SET_LEARNING_RATE 6u
#define ELEARN_MSG_STATISTICS 7u
#define ELEARN_MSG_SAMPLE_PART 8u
#define ELEARN_MSG_SAVE 9u
#define ELEARN_MSG_FORGET 10u
#define ELEARN_MSG_SET_AUTOSAVE 11u
#define ELEARN_MSG_SET_CLASS 12u
#define ELEARN_MSG_SET_SENSOR 13u
#define ELEARN_MSG_GOODBYE 14u
#define ELEARN_MSG_HELLO_REPLY 129u
#define ELEARN_MSG_RESULT 130u
#define ELEARN_MSG_READ_REPLY 131u
#define ELEARN_MSG_STATISTICS_REPLY 135u
#define ELEARN_MSG_SENSOR_EVENT 144u
#define ELEARN_MSG_NAK 254u
#define ELEARN_MSG_ACK 255u

/* Why a request was refused. */
#define ELEARN_STATUS_OK 0u
#define ELEARN_STATUS_UNKNOWN_TYPE 1u
#define ELEARN_STATUS_BAD_LENGTH 2u
#define ELEARN_STATUS_NO_SESSION 3u
#define ELEARN_STATUS_BAD_REGION 4u
#define ELEARN_STATUS_BAD_LABEL 5u
#define ELEARN_STATUS_NOT_TRAINABLE 6u
#define ELEARN_STATUS_LEARNING_RATE 7u
#define ELEARN_STATUS_READ_ONLY 8u
#define ELEARN_STATUS_BAD_VERSION 9u
#define ELEARN_STATUS_BAD_TARGET 10u
#define ELEARN_STATUS_BAD_VALUE 11u
#define ELEARN_STATUS_NO_STORE 12u
#define ELEARN_STATUS_STORE_FAILED 13u
#define ELEARN_STATUS_BAD_CLASS 14u
#define ELEARN_STATUS_SENSOR_RUNS 15u
#define ELEARN_STATUS_NO_SENSOR 16u
#define ELEARN_STATUS_SENSOR_IDLE 17u

/* What to do with a sample. */
#define ELEARN_SAMPLE_TRAIN 1u
#define ELEARN_SAMPLE_HAS_LABEL 2u
#define ELEARN_SAMPLE_HAS_TARGETS 4u
#define ELEARN_SAMPLE_TARGET_IS_INPUT 8u
#define ELEARN_SAMPLE_SELF_LABEL 16u

/* What was done with a sample. HAS_LOSS: its loss is known, for it had a label or targets. */
#define ELEARN_RESULT_LEARNED 1u
#define ELEARN_RESULT_SELF_LABELLED 2u
#define ELEARN_RESULT_HAS_LOSS 4u

/* What SET_SENSOR does. STOP with a lease_ms only holds a sensor that runs, at most for so long. */
#define ELEARN_SENSOR_STOP 0u
#define ELEARN_SENSOR_START 1u
#define ELEARN_SENSOR_GO_ON 2u
#define ELEARN_SENSOR_REPORT 3u
#define ELEARN_SENSOR_LABEL 4u

/* Memory of the device that READ and WRITE reach. Head regions are the only ones that can be written. */
#define ELEARN_REGION_LABELS 0u
#define ELEARN_REGION_BOARD 1u
#define ELEARN_REGION_INPUT 2u
#define ELEARN_REGION_FEATURES 3u
#define ELEARN_REGION_OUTPUT 4u
#define ELEARN_REGION_LOGITS 5u
#define ELEARN_REGION_PROBABILITIES 6u
#define ELEARN_REGION_HEAD_WEIGHTS 7u
#define ELEARN_REGION_HEAD_RESIDUAL 8u
#define ELEARN_REGION_HEAD_BIAS 9u
#define ELEARN_REGION_HEAD_ROW_T 10u
#define ELEARN_REGION_HEAD_ROW_RHO 11u
#define ELEARN_REGION_HEAD_ROW_M 12u
#define ELEARN_REGION_HEAD_ROW_R 13u
#define ELEARN_REGION_INTERFACE 14u

/* Why a device started, as far as its hardware tells. FAULT: its own firmware met one, and reset the processor. */
#define ELEARN_RESET_UNKNOWN 0u
#define ELEARN_RESET_POWER_ON 1u
#define ELEARN_RESET_PIN 2u
#define ELEARN_RESET_SOFTWARE 3u
#define ELEARN_RESET_WATCHDOG 4u
#define ELEARN_RESET_LOCKUP 5u
#define ELEARN_RESET_FAULT 6u

/* The loss on the wire. */
#define ELEARN_LOSS_NONE 0u
#define ELEARN_LOSS_CROSS_ENTROPY 1u
#define ELEARN_LOSS_SQUARED_ERROR 2u

/* How the head's weights are stored, on the wire. */
#define ELEARN_RESIDUAL_NONE 0u
#define ELEARN_RESIDUAL_INT8 1u
#define ELEARN_RESIDUAL_STOCHASTIC 2u
#define ELEARN_RESIDUAL_FLOAT 3u

/* HELLO */
#define ELEARN_HELLO_VERSION 0u /* u16: protocol version of the host */
#define ELEARN_HELLO_SESSION 2u /* u32: chosen by the host, not 0, no byte 0 or 3 */
#define ELEARN_HELLO_FIRST_SEQUENCE 6u /* u32: number of a new session's first request that changes state, below 2^31 */
#define ELEARN_HELLO_RESUME 10u /* u8: 1: only where this session is still open; a device that was reset opens none */
#define ELEARN_HELLO_BYTES 11u

/* HELLO_REPLY */
#define ELEARN_HELLO_REPLY_VERSION 0u /* u16: protocol version of the device */
#define ELEARN_HELLO_REPLY_SESSION 2u /* u32: the session now open, 0 if none */
#define ELEARN_HELLO_REPLY_MODEL_HASH_LOW 6u /* u32: bytes 0 to 3 of the model hash */
#define ELEARN_HELLO_REPLY_MODEL_HASH_HIGH 10u /* u32: bytes 4 to 7 of the model hash */
#define ELEARN_HELLO_REPLY_MAX_PAYLOAD_BYTES 14u /* u32: largest payload the device takes or sends */
#define ELEARN_HELLO_REPLY_FEATURE_ELEMENTS 18u /* u32: int8 elements of the trainable layer's input, 0 without one */
#define ELEARN_HELLO_REPLY_FEATURE_SCALE 22u /* f32: real = scale * (q - zero_point) */
#define ELEARN_HELLO_REPLY_FEATURE_ZERO_POINT 26u /* i8: zero point of the features */
#define ELEARN_HELLO_REPLY_LOGIT_FRACTION_BITS 27u /* u8: logits are int32 with that many fraction bits, biases with 8 more */
#define ELEARN_HELLO_REPLY_ERROR_SHIFT 28u /* u8: squared error: gradient g = (output - target) >> shift, rounded */
#define ELEARN_HELLO_REPLY_TARGET_SHIFT 29u /* u8: squared error: a target is int16, shifted left by this to a logit */
#define ELEARN_HELLO_REPLY_LOSS 30u /* u8: a LossCode */
#define ELEARN_HELLO_REPLY_RESIDUAL 31u /* u8: a ResidualCode */
#define ELEARN_HELLO_REPLY_LEARNING_RATE_MANTISSA 32u /* u16: A of lr = A 2^-a */
#define ELEARN_HELLO_REPLY_LEARNING_RATE_EXPONENT 34u /* u8: a of lr = A 2^-a */
#define ELEARN_HELLO_REPLY_STEP 35u /* u32: training steps since the head was as generated */
#define ELEARN_HELLO_REPLY_COUNTER_HZ 39u /* u32: ticks a second of the counter, 0 without one */
#define ELEARN_HELLO_REPLY_STATIC_RAM_BYTES 43u /* u32: data and bss; with MicroPython what is taken in the heap at the start */
#define ELEARN_HELLO_REPLY_STACK_SIZE_BYTES 47u /* u32: bytes reserved for the stack */
#define ELEARN_HELLO_REPLY_BOOT 51u /* u32: starts of the device, as far as it remembers */
#define ELEARN_HELLO_REPLY_NEXT_SEQUENCE 55u /* u32: number of the next request that changes state */
#define ELEARN_HELLO_REPLY_WINDOW 59u /* u8: replies that are kept: requests that may be under way */
#define ELEARN_HELLO_REPLY_RECEIVE_BYTES 60u /* u32: encoded bytes that may be under way; a single frame may be longer */
#define ELEARN_HELLO_REPLY_CLASSES 64u /* u16: classes in use, from 0 on; 0 without a trainable classifier */
#define ELEARN_HELLO_REPLY_LABEL_BYTES 66u /* u8: of a name in LABELS that SET_CLASS can change, 0 where it cannot */
#define ELEARN_HELLO_REPLY_CAN_SAVE 67u /* u8: 1 where the board has memory that keeps the head without power */
#define ELEARN_HELLO_REPLY_SAVES 68u /* u32: number of the newest saved head, 0 without one */
#define ELEARN_HELLO_REPLY_SAVED_STEP 72u /* u32: training steps in the newest saved head, 0 without one */
#define ELEARN_HELLO_REPLY_SAVED_SESSION 76u /* u32: session in which it was saved */
#define ELEARN_HELLO_REPLY_SAVED_SEQUENCE 80u /* u32: its requests before this number are in it */
#define ELEARN_HELLO_REPLY_AUTOSAVE_STEPS 84u /* u32: the head is saved after that many steps, 0: only when asked */
#define ELEARN_HELLO_REPLY_HAS_SENSOR 88u /* u8: 1 where the firmware takes samples from a sensor of its own */
#define ELEARN_HELLO_REPLY_SENSOR_RUNS 89u /* u8: 1 while it does */
#define ELEARN_HELLO_REPLY_MULTIPLY_ACCUMULATES 90u /* u32: of one inference, 0 where that is not known */
#define ELEARN_HELLO_REPLY_RESET_CAUSE 94u /* u8: a ResetCause: of the start that `boot` counted last */
#define ELEARN_HELLO_REPLY_FAULT 95u /* u8: with FAULT: number of the exception, 3: HardFault; 0: the firmware gave up */
#define ELEARN_HELLO_REPLY_FAULT_PC 96u /* u32: with FAULT: where it happened, 0 where that is not known */
#define ELEARN_HELLO_REPLY_FAULT_LR 100u /* u32: with FAULT: the link register there */
#define ELEARN_HELLO_REPLY_FAULT_STATUS 104u /* u32: with FAULT: CFSR, what kind of fault; 0 on a core without it */
#define ELEARN_HELLO_REPLY_FAULT_HARD 108u /* u32: with FAULT: HFSR, why it became a HardFault; 0 on a core without it */
#define ELEARN_HELLO_REPLY_FAULT_ADDRESS 112u /* u32: with FAULT: the address that was not reached, 0 where not known */
#define ELEARN_HELLO_REPLY_BYTES 116u

/* SAMPLE: then the inputs in order from that byte on, then with HAS_TARGETS an int16 for each logit */
#define ELEARN_SAMPLE_FLAGS 0u /* u8: SampleFlag */
#define ELEARN_SAMPLE_LABEL 1u /* u16: class number, with HAS_LABEL */
#define ELEARN_SAMPLE_THRESHOLD 3u /* u16: SELF_LABEL: learn the predicted class from this probability on, Q15 */
#define ELEARN_SAMPLE_OFFSET 5u /* u32: bytes of the inputs that came before, in SAMPLE_PARTs */
#define ELEARN_SAMPLE_BYTES 9u

/* SAMPLE_PART: then bytes of the inputs */
#define ELEARN_SAMPLE_PART_OFFSET 0u /* u32: first byte, of all inputs one after another */
#define ELEARN_SAMPLE_PART_BYTES 4u

/* RESULT */
#define ELEARN_RESULT_PREDICTION 0u /* u16: largest logit before learning, else of the first output; of one integer, itself */
#define ELEARN_RESULT_CONFIDENCE 2u /* u16: its probability, Q15 (0 for squared error) */
#define ELEARN_RESULT_LOSS_A 4u /* u32: cross-entropy: max logit - logit of the label; squared error: sum of (g*g >> 16) */
#define ELEARN_RESULT_LOSS_B 8u /* u32: cross-entropy: sum of exponentials, Q15; squared error: sum of (g*g & 0xFFFF) */
#define ELEARN_RESULT_STEP 12u /* u32: training steps since the head was as generated, this one included */
#define ELEARN_RESULT_INFERENCE_TICKS 16u /* u32: counter ticks of the forward pass */
#define ELEARN_RESULT_TRAIN_TICKS 20u /* u32: counter ticks of the update */
#define ELEARN_RESULT_STACK_BYTES 24u /* u32: high-water mark of the stack */
#define ELEARN_RESULT_SAVED_SEQUENCE 28u /* u32: requests of this session before it are saved; 2^32 - 1: none */
#define ELEARN_RESULT_FLAGS 32u /* u8: ResultFlag */
#define ELEARN_RESULT_BYTES 33u

/* READ */
#define ELEARN_READ_REGION 0u /* u8: a Region */
#define ELEARN_READ_INDEX 1u /* u8: of the trainable layer, input or output, 0 for the first */
#define ELEARN_READ_OFFSET 2u /* u32: first byte */
#define ELEARN_READ_LENGTH 6u /* u16: bytes wanted */
#define ELEARN_READ_BYTES 8u

/* READ_REPLY: then the bytes; fewer than asked at the end of the region */
#define ELEARN_READ_REPLY_REGION 0u /* u8: as asked */
#define ELEARN_READ_REPLY_INDEX 1u /* u8: as asked */
#define ELEARN_READ_REPLY_OFFSET 2u /* u32: as asked */
#define ELEARN_READ_REPLY_TOTAL_BYTES 6u /* u32: size of the whole region */
#define ELEARN_READ_REPLY_BYTES 10u

/* WRITE: then the bytes */
#define ELEARN_WRITE_REGION 0u /* u8: a Region */
#define ELEARN_WRITE_INDEX 1u /* u8: number of the trainable layer */
#define ELEARN_WRITE_OFFSET 2u /* u32: first byte */
#define ELEARN_WRITE_BYTES 6u

/* RESET_HEAD */
#define ELEARN_RESET_HEAD_BYTES 0u

/* SET_LEARNING_RATE */
#define ELEARN_SET_LEARNING_RATE_MANTISSA 0u /* u16: A of lr = A 2^-a, 2^14 <= A < 2^15, or 0 to stop learning */
#define ELEARN_SET_LEARNING_RATE_EXPONENT 2u /* u8: a of lr = A 2^-a */
#define ELEARN_SET_LEARNING_RATE_BYTES 3u

/* SAVE */
#define ELEARN_SAVE_BYTES 0u

/* FORGET */
#define ELEARN_FORGET_BYTES 0u

/* SET_AUTOSAVE */
#define ELEARN_SET_AUTOSAVE_STEPS 0u /* u32: save after that many training steps; 0: only when asked */
#define ELEARN_SET_AUTOSAVE_BYTES 4u

/* SET_CLASS: then its name, UTF-8, at most label_bytes */
#define ELEARN_SET_CLASS_INDEX 0u /* u16: a class in use, or their number, which adds one with zero weights */
#define ELEARN_SET_CLASS_BYTES 2u

/* SET_SENSOR */
#define ELEARN_SET_SENSOR_RUN 0u /* u8: a SensorRun; the other fields mean something with START, some with REPORT and LABEL */
#define ELEARN_SET_SENSOR_FLAGS 1u /* u8: SampleFlag: TRAIN, HAS_LABEL, TARGET_IS_INPUT, SELF_LABEL */
#define ELEARN_SET_SENSOR_LABEL 2u /* u16: class number of every sample, with HAS_LABEL */
#define ELEARN_SET_SENSOR_THRESHOLD 4u /* u16: SELF_LABEL: learn the predicted class from this probability on, Q15 */
#define ELEARN_SET_SENSOR_SAMPLES 6u /* u32: stop after so many, 0: never */
#define ELEARN_SET_SENSOR_REPORT_EVERY 10u /* u32: a SENSOR_EVENT for each n-th sample, 0: none */
#define ELEARN_SET_SENSOR_LEASE_MS 14u /* u32: STOP: go on after so many milliseconds unless told before, 0: stop for good */
#define ELEARN_SET_SENSOR_BYTES 18u

/* SENSOR_EVENT */
#define ELEARN_SENSOR_EVENT_PREDICTION 0u /* u16: largest logit before learning, else of the first output; of one integer, itself */
#define ELEARN_SENSOR_EVENT_CONFIDENCE 2u /* u16: its probability, Q15 (0 for squared error) */
#define ELEARN_SENSOR_EVENT_LOSS_A 4u /* u32: cross-entropy: max logit - logit of the label; squared error: sum of (g*g >> 16) */
#define ELEARN_SENSOR_EVENT_LOSS_B 8u /* u32: cross-entropy: sum of exponentials, Q15; squared error: sum of (g*g & 0xFFFF) */
#define ELEARN_SENSOR_EVENT_STEP 12u /* u32: training steps since the head was as generated, this one included */
#define ELEARN_SENSOR_EVENT_INFERENCE_TICKS 16u /* u32: counter ticks of the forward pass */
#define ELEARN_SENSOR_EVENT_TRAIN_TICKS 20u /* u32: counter ticks of the update */
#define ELEARN_SENSOR_EVENT_STACK_BYTES 24u /* u32: high-water mark of the stack */
#define ELEARN_SENSOR_EVENT_SAVED_SEQUENCE 28u /* u32: requests of this session before it are saved; 2^32 - 1: none */
#define ELEARN_SENSOR_EVENT_FLAGS 32u /* u8: ResultFlag */
#define ELEARN_SENSOR_EVENT_LABEL 33u /* u16: class number that the sample had or, self-labelled, was given; 65535: none */
#define ELEARN_SENSOR_EVENT_SAMPLES 35u /* u32: samples since the sensor was started, this one included */
#define ELEARN_SENSOR_EVENT_SESSION 39u /* u32: the session that is open */
#define ELEARN_SENSOR_EVENT_BYTES 43u

/* GOODBYE */
#define ELEARN_GOODBYE_SESSION 0u /* u32: that is over; where another is open, nothing is */
#define ELEARN_GOODBYE_BYTES 4u

/* STATISTICS */
#define ELEARN_STATISTICS_BYTES 0u

/* STATISTICS_REPLY */
#define ELEARN_STATISTICS_REPLY_STEP 0u /* u32: training steps since the head was as generated */
#define ELEARN_STATISTICS_REPLY_FRAMES 4u /* u32: good frames received */
#define ELEARN_STATISTICS_REPLY_CRC_ERRORS 8u /* u32: frames with a bad checksum */
#define ELEARN_STATISTICS_REPLY_FRAMING_ERRORS 12u /* u32: frames too short, too long or not COBS */
#define ELEARN_STATISTICS_REPLY_REPEATS 16u /* u32: repeated requests answered from memory or dropped */
#define ELEARN_STATISTICS_REPLY_GAPS 20u /* u32: requests dropped because one before them did not arrive */
#define ELEARN_STATISTICS_REPLY_OVERRUNS 24u /* u32: bytes lost because the receive ring was full */
#define ELEARN_STATISTICS_REPLY_RING_BYTES 28u /* u32: high-water mark of the receive ring */
#define ELEARN_STATISTICS_REPLY_STACK_BYTES 32u /* u32: high-water mark of the stack */
#define ELEARN_STATISTICS_REPLY_STATIC_RAM_BYTES 36u /* u32: as in HELLO_REPLY */
#define ELEARN_STATISTICS_REPLY_STACK_SIZE_BYTES 40u /* u32: bytes reserved for the stack */
#define ELEARN_STATISTICS_REPLY_INFERENCE_STACK_BYTES 44u /* u32: most of it that one inference has used */
#define ELEARN_STATISTICS_REPLY_TRAIN_STACK_BYTES 48u /* u32: most of it that one update has used */
#define ELEARN_STATISTICS_REPLY_SAVE_STACK_BYTES 52u /* u32: most of it that saving the head has used */
#define ELEARN_STATISTICS_REPLY_SAVES 56u /* u32: number of the newest saved head, 0 without one */
#define ELEARN_STATISTICS_REPLY_SAVED_STEP 60u /* u32: training steps in the newest saved head */
#define ELEARN_STATISTICS_REPLY_FAILED_SAVES 64u /* u32: of the device itself, by SET_AUTOSAVE */
#define ELEARN_STATISTICS_REPLY_SENSOR_SAMPLES 68u /* u32: samples since the sensor was started */
#define ELEARN_STATISTICS_REPLY_SENSOR_LEARNED 72u /* u32: of these, how many were learned */
#define ELEARN_STATISTICS_REPLY_SENSOR_UNTOLD 76u /* u32: SENSOR_EVENTs not sent because the other side took no more bytes */
#define ELEARN_STATISTICS_REPLY_HEAP_FREE_BYTES 80u /* u32: free in the heap; C has none, and sends neither this nor what follows */
#define ELEARN_STATISTICS_REPLY_HEAP_ALLOCATED_BYTES 84u /* u32: taken in the heap, garbage included */
#define ELEARN_STATISTICS_REPLY_HEAP_LARGEST_FREE_BYTES 88u /* u32: the largest block that can be had, within 64 */
#define ELEARN_STATISTICS_REPLY_COLLECTIONS 92u /* u32: collections of garbage that were noticed since the link began */
#define ELEARN_STATISTICS_REPLY_BYTES 96u

/* NAK */
#define ELEARN_NAK_EXPECTED 0u /* u32: number of the next request that changes state */
#define ELEARN_NAK_BYTES 4u

/* ACK */
#define ELEARN_ACK_STATUS 0u /* u8: a Status */
#define ELEARN_ACK_BYTES 1u

#endif
