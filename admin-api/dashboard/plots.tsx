/** Open connections and accept queues over the last minutes, as the page has seen them. */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

import type { Hue, Lane } from "./lanes.ts";
import { type Columns, openColumns, type Sample, spanOf, waitingColumns } from "./samples.ts";

const HEIGHT = 110;

interface Line {
  readonly label: string;
  readonly hue: Hue | "amber";
  readonly last: number | null;
}

export function Plots({
  samples,
  lanes,
}: {
  readonly samples: readonly Sample[];
  readonly lanes: readonly Lane[];
}) {
  const open = openColumns(samples);
  const waiting = waitingColumns(samples);
  const hueOfNumber = (number: number): Hue => lanes.find((lane) => lane.number === number)?.hue ?? "grey";
  const openLines = open.series.map(({ key, values }): Line => ({
    label: `generation ${String(key)}`,
    hue: hueOfNumber(key),
    last: values.at(-1) ?? null,
  }));
  return (
    <div class="plots">
      <Plot title="Open connections" columns={open} lines={openLines} />
      <Plot
        title="Waiting in accept queues"
        columns={waiting}
        lines={[{ label: "all slots", hue: "amber", last: samples.at(-1)?.waiting ?? null }]}
      />
    </div>
  );
}

interface PlotProps {
  readonly title: string;
  readonly columns: Columns;
  readonly lines: readonly Line[];
}

function Plot({ title, columns, lines }: PlotProps) {
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<Drawing | null>(null);
  const shape = lines.map(({ label, hue }) => `${label} ${hue}`).join();
  useEffect(() => {
    if (place.current === null) return;
    const drawing = new Drawing(place.current, lines);
    drawn.current = drawing;
    return () => drawing.close();
    // Drawn anew when a line comes, goes or changes its colour.
  }, [shape]);
  useEffect(() => drawn.current?.show(columns));
  return (
    <figure class="plot">
      <figcaption>
        {title}
        {lines
          .filter(({ last }) => last !== null)
          .map(({ label, hue, last }) => (
            <span key={label} class={`key ${hue}`}>
              {label} <b>{last}</b>
            </span>
          ))}
        {lines.length === 0 && <span class="key">not counted</span>}
      </figcaption>
      <div ref={place} role="img" aria-label={said(title, columns, lines)} />
    </figure>
  );
}

/** A picture of numbers, in words. */
function said(title: string, { series }: Columns, lines: readonly Line[]): string {
  const each = series.map(({ values }, index) => {
    const most = Math.max(0, ...values.map((value) => value ?? 0));
    return `${lines[index]?.label ?? ""}: ${String(values.at(-1) ?? "none")} now, at most ${String(most)}`;
  });
  return `${title}, for as long as this page is open. ${each.join("; ")}`;
}

/** A uPlot in the colours of the page, as wide as its place. */
class Drawing {
  readonly #place: HTMLElement;
  readonly #plot: uPlot;
  readonly #watch: ResizeObserver;
  readonly #scheme = matchMedia("(prefers-color-scheme: dark)");
  readonly #recolour = (): void => this.#plot.redraw(false);

  constructor(place: HTMLElement, lines: readonly Line[]) {
    this.#place = place;
    // Asked for at each drawing: the scheme may change while the page is open.
    const colour = (name: string): string => getComputedStyle(place).getPropertyValue(`--${name}`).trim();
    const axis = {
      stroke: () => colour("muted"),
      grid: { stroke: () => colour("line"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    this.#plot = new uPlot(
      {
        width: Math.max(120, place.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 8, 0, 0],
        scales: { x: { time: true }, y: { range: (_plot, _least, most) => [0, Math.max(4, most * 1.1)] } },
        axes: [
          {
            ...axis,
            size: 22,
            values: (_plot, ticks, _axis, _space, step) => ticks.map((tick) => clock(tick, step < 60)),
            space: 80,
          },
          {
            ...axis,
            size: 40,
            space: 26,
            incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5],
          },
        ],
        series: [
          {},
          ...lines.map(({ label, hue }) => ({
            label,
            stroke: () => colour(hue),
            width: 1.5,
            // Not only a colour: what drains is dashed.
            ...(hue === "grey" && { dash: [4, 3] }),
            points: { show: false },
          })),
        ],
      },
      [[], ...lines.map(() => [])],
      place,
    );
    this.#watch = new ResizeObserver(() => {
      const width = Math.max(120, this.#place.clientWidth);
      if (width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
    });
    this.#watch.observe(place);
    this.#scheme.addEventListener("change", this.#recolour);
  }

  show({ seconds, series }: Columns): void {
    this.#plot.batch(() => {
      this.#plot.setData([[...seconds], ...series.map(({ values }) => [...values])], false);
      this.#plot.setScale("x", spanOf(seconds));
    });
  }

  close(): void {
    this.#scheme.removeEventListener("change", this.#recolour);
    this.#watch.disconnect();
    this.#plot.destroy();
  }
}

function clock(seconds: number, isFine: boolean): string {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB").slice(0, isFine ? undefined : 5);
}
