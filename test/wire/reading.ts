/** What a `PacketReader` reports, as a list that tests compare. */
import type { Packet } from 'mqtt-packet';
import { type AcknowledgementType, PacketReader } from '../../src/wire/packet-reader.js';

export type Read =
  | { kind: 'acknowledged'; type: AcknowledgementType; id: number; code: number; text: string | undefined }
  | { kind: 'packet'; packet: Packet }
  | { kind: 'malformed' };

export interface Reading {
  reader: PacketReader;
  reads: Read[];
  problems: string[];
}

export function openReading(protocolVersion: 4 | 5): Reading {
  const reads: Read[] = [];
  const problems: string[] = [];
  const reader = new PacketReader(protocolVersion, {
    acknowledged: (type, id, code, text) => reads.push({ kind: 'acknowledged', type, id, code, text }),
    packet: (packet) => reads.push({ kind: 'packet', packet }),
    malformed: (problem) => {
      problems.push(problem);
      reads.push({ kind: 'malformed' });
    },
  });
  return { reader, reads, problems };
}

/** Reads the chunks one after the other; each is overwritten afterwards, because the reader must not keep it. */
export function readChunks(protocolVersion: 4 | 5, chunks: readonly Buffer[]): Reading {
  const reading = openReading(protocolVersion);
  for (const chunk of chunks) {
    const own = Buffer.from(chunk);
    reading.reader.read(own);
    own.fill(0xff);
  }
  return reading;
}
