import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { type ConfigOf, transformerSchema } from '../../src/config/transformers.js';
import { NorthError } from '../../src/core/error.js';
import { compileDatetime } from '../../src/transform/datetime.js';
import { isTimestamp, isUsualTimestamp } from '../../src/transform/timestamp.js';

interface Options {
  input?: { format?: string; timezone?: string; locale?: string };
  output?: { format?: string; timezone?: string; locale?: string };
}

function compile(datetime: Options) {
  const config = {
    type: 'csv-to-mqtt',
    topic: 'x',
    payloadType: 'column',
    valueColumn: 0,
    valueType: 'datetime',
    datetime,
  };
  return compileDatetime((transformerSchema.parse(config) as ConfigOf<'csv-to-mqtt'>).datetime!, 'datetime');
}

const convert = (text: string, options: Options = {}) => compile(options)(text);

describe('times in content', () => {
  it('an ISO time becomes UTC', () => {
    assert.equal(convert('2026-01-15T10:00:00Z'), '2026-01-15T10:00:00.000Z');
    assert.equal(convert('2026-01-15T10:00:00+05:30'), '2026-01-15T04:30:00.000Z');
    assert.equal(convert(' 20260115T100000,5Z '), '2026-01-15T10:00:00.500Z');
    assert.equal(convert('2026-01-15'), '2026-01-15T00:00:00.000Z');
    assert.equal(convert('2026-W03-4T10:00:00'), '2026-01-15T10:00:00.000Z');
  });

  it('an ISO time keeps decimals that the calendar cannot hold', () => {
    assert.equal(convert('2026-01-15T10:00:00.123456789+01:00'), '2026-01-15T09:00:00.123456789Z');
    assert.equal(convert('2026-01-15T10:00:00.12Z'), '2026-01-15T10:00:00.120Z');
    const output = { format: 'iso', timezone: 'Asia/Tokyo' };
    assert.equal(convert('2026-01-15T10:00:00.123456Z', { output }), '2026-01-15T19:00:00.123456+09:00');
  });

  it('a local time is in the configured time zone, in winter and in summer', () => {
    const input = { timezone: 'Europe/Paris' };
    assert.equal(convert('2026-01-15T10:00:00', { input }), '2026-01-15T09:00:00.000Z');
    assert.equal(convert('2026-07-15T10:00:00', { input }), '2026-07-15T08:00:00.000Z');
    assert.equal(convert('2026-07-15T10:00:00Z', { input }), '2026-07-15T10:00:00.000Z');
    assert.equal(convert('2026-07-15T10:00:00', { input: { timezone: 'UTC+3' } }), '2026-07-15T07:00:00.000Z');
    for (const text of ['2026-07-15T10:00Z', '20260715T153000+0530', '2026-07-15T11:00+01', '2026-W29-3T10Z']) {
      assert.equal(convert(text, { input }), '2026-07-15T10:00:00.000Z', text);
    }
    assert.equal(convert('2026-07-15', { input }), '2026-07-14T22:00:00.000Z');
  });

  it('a local time that the clocks skip is none, and one that there is twice is the first', () => {
    for (const [format, skipped, twice] of [
      ['iso', '2026-03-29T02:30:00', '2026-10-25T02:30:00'],
      ['dd/MM/yyyy HH:mm', '29/03/2026 02:30', '25/10/2026 02:30'],
    ] as const) {
      const input = { format, timezone: 'Europe/Paris' };
      assert.equal(convert(skipped, { input }), undefined);
      assert.equal(convert(twice, { input }), '2026-10-25T00:30:00.000Z');
      const london = { format, timezone: 'Europe/London' };
      assert.equal(convert(twice.replace('02:30', '01:30'), { input: london }), '2026-10-25T00:30:00.000Z');
    }
  });

  it('a local time is the moment at which the clocks there show it, on every day of the year', () => {
    const zone = fc.constantFrom(
      'Europe/Paris',
      'America/New_York',
      'Asia/Tokyo',
      'Australia/Lord_Howe',
      'America/St_Johns',
      'Pacific/Apia',
      'Pacific/Kiritimati',
      'Africa/Casablanca',
      'UTC',
      'UTC-5',
    );
    const minute = fc.integer({ min: Date.UTC(2005, 0) / 60_000, max: Date.UTC(2030, 0) / 60_000 });
    // Half of them near a change of the clocks.
    const near = fc
      .tuple(
        fc.constantFrom(
          '2026-03-29',
          '2026-10-25',
          '2026-03-08',
          '2026-11-01',
          '2011-12-30',
          '2026-04-05',
          '2026-10-04',
        ),
        fc.integer({ min: -3000, max: 3000 }),
      )
      .map(([day, minutes]) => Date.parse(day) / 60_000 + minutes);
    fc.assert(
      fc.property(zone, fc.oneof(minute, near), (timezone, minute) => {
        const moment = DateTime.fromMillis(minute * 60_000, { zone: timezone });
        const written = moment.toFormat("yyyy-MM-dd'T'HH:mm:ss");
        const first = moment.getPossibleOffsets()[0]!;
        assert.equal(convert(written, { input: { timezone } }), first.toUTC().toISO(), `${written} ${timezone}`);
      }),
      { numRuns: 1000 },
    );
  });

  it('a local time that the clocks skip is none, on any day that they do', () => {
    for (const [timezone, text] of [
      ['America/New_York', '2026-03-08T02:30:00'],
      ['Australia/Lord_Howe', '2026-10-04T02:15:00'],
      ['Pacific/Apia', '2011-12-30T12:00:00'],
    ] as const) {
      assert.equal(convert(text, { input: { timezone } }), undefined, timezone);
    }
  });

  it('tokens read what is written so', () => {
    const read = (format: string, text: string, more = {}) => convert(text, { input: { format, ...more } });
    assert.equal(read('dd/MM/yyyy HH:mm:ss', '15/01/2026 10:00:05'), '2026-01-15T10:00:05.000Z');
    assert.equal(read('dd.MM.yy HH:mm', '15.01.26 10:00', { timezone: 'Europe/Berlin' }), '2026-01-15T09:00:00.000Z');
    assert.equal(read('d LLLL yyyy', '15 janvier 2026', { locale: 'fr' }), '2026-01-15T00:00:00.000Z');
    assert.equal(read("yyyy-MM-dd 'at' hh:mm a", '2026-01-15 at 01:30 PM'), '2026-01-15T13:30:00.000Z');
    assert.equal(
      read('yyyy-MM-dd HH:mm ZZ', '2026-03-29 02:30 +00:00', { timezone: 'Europe/Paris' }),
      '2026-03-29T02:30:00.000Z',
    );
    assert.equal(read('yyyyMMddHHmmssSSS', '20260115100000250'), '2026-01-15T10:00:00.250Z');
    assert.equal(read('dd/MM/yyyy', '31/02/2026'), undefined);
    assert.equal(read('dd/MM/yyyy', '2026-01-15'), undefined);
  });

  it('unix times are read in their unit, with their decimals', () => {
    const seconds = (text: string) => convert(text, { input: { format: 'unix-seconds' } });
    const ms = (text: string) => convert(text, { input: { format: 'unix-ms' } });
    assert.equal(seconds('1768471200'), '2026-01-15T10:00:00.000Z');
    assert.equal(seconds('1768471200.123456'), '2026-01-15T10:00:00.123456Z');
    assert.equal(seconds('1768471200.5'), '2026-01-15T10:00:00.500Z');
    assert.equal(seconds('-1.5'), '1969-12-31T23:59:58.500Z');
    assert.equal(ms('1768471200123'), '2026-01-15T10:00:00.123Z');
    assert.equal(ms('1768471200123.25'), '2026-01-15T10:00:00.12325Z');
    assert.equal(ms('-1'), '1969-12-31T23:59:59.999Z');
    for (const text of ['', 'x', '1e9', '0x10', '1,5', '1768471200 s', '9'.repeat(20)])
      assert.equal(seconds(text), undefined);
  });

  it('times are written as configured', () => {
    const write = (format: string, more = {}) => convert('2026-07-15T10:00:00.250Z', { output: { format, ...more } });
    assert.equal(write('iso-utc', { timezone: 'Europe/Paris' }), '2026-07-15T10:00:00.250Z');
    assert.equal(write('iso', { timezone: 'Europe/Paris' }), '2026-07-15T12:00:00.250+02:00');
    assert.equal(write('unix-seconds'), '1784109600.25');
    assert.equal(write('unix-ms'), '1784109600250');
    assert.equal(write('d LLLL yyyy HH:mm', { timezone: 'Europe/Paris', locale: 'fr' }), '15 juillet 2026 12:00');
  });

  it('what is no time is none', () => {
    for (const text of ['', 'x', '10:00', '2026', '2026-02-30', '2026-01-15 10:00', '1768471200', 'T10:00:00']) {
      assert.equal(convert(text), undefined, text);
    }
  });

  it('the same text after another one gives the same again', () => {
    const again = compile({});
    assert.equal(again('2026-01-15T10:00:00Z'), again('2026-01-15T10:00:00Z'));
    assert.equal(again('x'), undefined);
    assert.equal(again('x'), undefined);
    assert.equal(again('2026-01-15T10:00:00Z'), '2026-01-15T10:00:00.000Z');
  });

  const unusable = ['HH:mm', 'dd/MM', 'MM/yyyy', 'nonsense', 'EEEE', 'dd/MM/yyyy HH:mm a', 'truedd/MM/yyyy HH:mm:ss'];
  for (const format of unusable) {
    it(`the format ${format} does not tell the day, or cannot be read, and is refused`, () => {
      assert.throws(
        () => compile({ input: { format } }),
        (error) =>
          error instanceof NorthError && error.code === 'CONFIG_INVALID' && error.place === 'datetime.input.format',
      );
    });
  }
});

describe('timestamps of time values', () => {
  it('the quick check takes what luxon takes, and nothing else', () => {
    const digits = (count: number) =>
      fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: count, maxLength: count });
    const near = (max: number) => fc.integer({ min: 0, max }).map((value) => String(value).padStart(2, '0'));
    const zone = fc.oneof(
      fc.constantFrom('Z', 'z', '', '+', '+1', '+01', '+0100', 'ZZ'),
      fc
        .tuple(fc.constantFrom('+', '-'), near(25), near(61))
        .map(([sign, hours, minutes]) => `${sign}${hours}:${minutes}`),
    );
    const text = fc
      .tuple(
        digits(4),
        near(14),
        near(33),
        near(25),
        near(61),
        near(61),
        fc.constantFrom('', '.', '.1', '.123', '.123456789', '.x'),
        zone,
      )
      .map(
        ([year, month, day, hour, minute, second, decimals, end]) =>
          `${year}-${month}-${day}T${hour}:${minute}:${second}${decimals}${end}`,
      );
    fc.assert(
      fc.property(text, (text) => {
        // Luxon takes offsets that no place on Earth has, which do no harm.
        if (isUsualTimestamp(text)) assert.equal(DateTime.fromISO(text).isValid, true, text);
        const isComplete = /^.{19}(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text);
        if (isComplete && DateTime.fromISO(text).isValid && !/T24|[+-](2[4-9]|[3-9]\d|..:[6-9])/.test(text)) {
          assert.equal(isUsualTimestamp(text), true, text);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('leap days are those of the calendar', () => {
    for (const [year, isLeap] of [
      ['2024', true],
      ['2026', false],
      ['1900', false],
      ['2000', true],
    ] as const) {
      assert.equal(isUsualTimestamp(`${year}-02-29T00:00:00Z`), isLeap, year);
      assert.equal(isTimestamp(`${year}-02-29`), isLeap, year);
    }
  });

  it('dates alone, local times and the other forms of ISO 8601 are timestamps', () => {
    for (const text of [
      '2026-01-15',
      '20260115',
      '2026-01-15T10',
      '2026-01-15T10:00',
      '2026-01-15T10:00:00',
      '2026-01-15T24:00:00Z',
      '2026-W03-4',
      '2026W034',
      '2026-015',
      '2026015',
      '+002026-01-15',
      '20260115T100000Z',
      '2026-01-15T10:00:00,5Z',
    ]) {
      assert.equal(isTimestamp(text), true, text);
    }
  });

  it('a time of day, a month, a number or a sentence is none', () => {
    for (const text of [
      '',
      '10:00',
      '10:00:00',
      'T10:00',
      '100000',
      '2026',
      '2026-01',
      '1768471200000',
      '1768471200',
      'now',
      '2026-01-15 10:00:00',
      '15.01.2026',
      '2026-01-15T25:00:00Z',
      '2026-01-15T10:60:00Z',
      '2026-13-01',
      '2026-01-15T10:00:00.Z',
      '2026-01-15T10:00:00Zx',
    ]) {
      assert.equal(isTimestamp(text), false, text);
    }
  });
});
