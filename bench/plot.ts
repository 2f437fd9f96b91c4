/**
 * Line plots as SVG: readable in light and dark, without a script or a font of their own, the same bytes for the same
 * figures.
 *
 * Colours are told apart by people who do not see all of them, and every line has a mark of its own besides. The names of
 * the lines stand beside the plot, so that they cover nothing.
 */
import type { BenchPlot } from './case.js';
import { type Axis, axisOf } from './plot-axis.js';

const WIDTH = 880;
const HEIGHT = 460;
const PLOT = { left: 84, top: 52, right: 600, bottom: 392 } as const;
const LEGEND_LEFT = PLOT.right + 24;
const LEGEND_LINE_HEIGHT = 22;
const MARK_SIZE = 4;
const LABEL_MAX_CHARS = 28;
/** The marks of more points than this would hide their line. */
const MARKS_MAX = 40;

/** After Okabe and Ito; the second of each pair is for a dark ground. */
const COLOURS: readonly (readonly [string, string])[] = [
  ['#0072b2', '#56b4e9'],
  ['#d55e00', '#ff8c42'],
  ['#007f5f', '#2dd4a7'],
  ['#a5508a', '#e29ac7'],
  ['#8a6d00', '#f0e442'],
  ['#4d4d4d', '#d0d0d0'],
  ['#8b1e3f', '#ff7b93'],
  ['#3b3fa5', '#a3a6ff'],
  ['#6b4423', '#d2a679'],
];

const STYLE = `
  .ground { fill: #ffffff }
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 }
  .tick { font-size: 12px; fill: #57606a }
  .grid { stroke: #d8dee4; stroke-width: 1 }
  .frame { stroke: #8c959f; stroke-width: 1; fill: none }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round }
${COLOURS.map(([light], index) => `  .line${index} { stroke: ${light} } .mark${index} { fill: ${light} }`).join('\n')}
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 }
    text { fill: #e6edf3 }
    .tick { fill: #9198a1 }
    .grid { stroke: #262c34 }
    .frame { stroke: #656c76 }
${COLOURS.map(([, dark], index) => `    .line${index} { stroke: ${dark} } .mark${index} { fill: ${dark} }`).join('\n')}
  }
`;

/**
 * Points without a finite number are left out, and so is what is not above 0 where the scale is logarithmic.
 * Labels are any text; a long one is cut.
 */
export function renderPlot(plot: BenchPlot): string {
  const series = plot.series.map(({ label, points }) => ({
    label,
    points: points.filter(([x, y]) => isShown(x, plot.xScale) && isShown(y, plot.yScale)),
  }));
  const all = series.flatMap(({ points }) => points);
  const xAxis = axisOf(
    all.map(([x]) => x),
    plot.xScale,
    PLOT.left,
    PLOT.right,
  );
  const yAxis = axisOf(
    all.map(([, y]) => y),
    plot.yScale,
    PLOT.bottom,
    PLOT.top,
  );
  const elements = [
    `<title>${escaped(plot.title)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${HEIGHT}"/>`,
    `<text class="title" x="${PLOT.left}" y="28">${escaped(plot.title)}</text>`,
    ...grid(xAxis, yAxis),
    `<rect class="frame" x="${PLOT.left}" y="${PLOT.top}" width="${PLOT.right - PLOT.left}" height="${PLOT.bottom - PLOT.top}"/>`,
    axisLabel(plot.xLabel, `x="${(PLOT.left + PLOT.right) / 2}" y="${HEIGHT - 18}"`),
    axisLabel(plot.yLabel, `transform="translate(20 ${(PLOT.top + PLOT.bottom) / 2}) rotate(-90)"`),
    ...series.flatMap(({ points }, index) => lineOf(points, index, xAxis, yAxis)),
    ...legend(series.map(({ label }) => label)),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img">\n${elements.join('\n')}\n</svg>\n`;
}

function isShown(value: number, scale: BenchPlot['xScale']): boolean {
  return Number.isFinite(value) && (scale === 'linear' || value > 0);
}

function grid(xAxis: Axis, yAxis: Axis): string[] {
  return [
    ...xAxis.ticks.flatMap(({ at, label }) => [
      `<line class="grid" x1="${at}" y1="${PLOT.top}" x2="${at}" y2="${PLOT.bottom}"/>`,
      ...(label === ''
        ? []
        : [`<text class="tick" x="${at}" y="${PLOT.bottom + 18}" text-anchor="middle">${label}</text>`]),
    ]),
    ...yAxis.ticks.flatMap(({ at, label }) => [
      `<line class="grid" x1="${PLOT.left}" y1="${at}" x2="${PLOT.right}" y2="${at}"/>`,
      ...(label === ''
        ? []
        : [`<text class="tick" x="${PLOT.left - 8}" y="${at + 4}" text-anchor="end">${label}</text>`]),
    ]),
  ];
}

function axisLabel(label: string, place: string): string {
  return `<text ${place} text-anchor="middle">${escaped(label)}</text>`;
}

function lineOf(points: readonly (readonly [number, number])[], index: number, xAxis: Axis, yAxis: Axis): string[] {
  const places = points.map(([x, y]) => [xAxis.place(x), yAxis.place(y)] as const);
  const colour = index % COLOURS.length;
  return [
    ...(places.length > 1
      ? [`<polyline class="line line${colour}" points="${places.map((place) => place.join(',')).join(' ')}"/>`]
      : []),
    ...(places.length > MARKS_MAX ? [] : places.map(([x, y]) => mark(index, x, y))),
  ];
}

/** Circle, square, triangle and diamond in turn: with nine colours, 36 lines differ in one or the other. */
function mark(index: number, x: number, y: number): string {
  const name = `class="mark${index % COLOURS.length}"`;
  const size = MARK_SIZE;
  const shapes = [
    `<circle ${name} cx="${x}" cy="${y}" r="${size}"/>`,
    `<rect ${name} x="${x - size}" y="${y - size}" width="${size * 2}" height="${size * 2}"/>`,
    `<path ${name} d="M${x} ${y - size - 1}l${size + 1} ${size * 2}h-${size * 2 + 2}z"/>`,
    `<path ${name} d="M${x} ${y - size - 1}l${size + 1} ${size + 1}l-${size + 1} ${size + 1}l-${size + 1} -${size + 1}z"/>`,
  ];
  return shapes[index % shapes.length]!;
}

function legend(labels: readonly string[]): string[] {
  return labels.flatMap((label, index) => {
    const y = PLOT.top + 10 + index * LEGEND_LINE_HEIGHT;
    return [
      `<line class="line line${index % COLOURS.length}" x1="${LEGEND_LEFT}" y1="${y}" x2="${LEGEND_LEFT + 28}" y2="${y}"/>`,
      mark(index, LEGEND_LEFT + 14, y),
      `<text x="${LEGEND_LEFT + 38}" y="${y + 4}">${escaped(shortened(label))}</text>`,
    ];
  });
}

function shortened(label: string): string {
  return label.length > LABEL_MAX_CHARS ? `${label.slice(0, LABEL_MAX_CHARS - 1)}…` : label;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
