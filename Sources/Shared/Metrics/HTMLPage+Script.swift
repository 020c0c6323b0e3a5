// What the page does: draws the curves on canvases, zooms all of them together, shows values under the pointer, smooths and
// hides curves, lists what configurations differ in. Plain JavaScript; text from runs only ever becomes text nodes.

extension HTMLPage {
    static let script = #"""
        "use strict";
        const data = JSON.parse(document.getElementById("data").textContent);
        const state = { axis: data.axis, log: data.log, smooth: data.smooth, zoom: null, hidden: new Set(), hover: null };
        const make = (name, text, parent) => {
          const element = document.createElement(name);
          if (text !== undefined && text !== null) element.textContent = text;
          if (parent) parent.append(element);
          return element;
        };
        const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        const dashes = [[], [7, 4], [2, 3], [9, 3, 2, 3]];
        const axes = { step: "step", tokens: "tokens", seconds: "seconds of training", time: "seconds since the first record" };
        const several = data.runs.length > 1;
        for (const panel of data.panels) {
          const keys = [...new Set(panel.series.map(s => s.key))];
          for (const s of panel.series) {
            s.color = several ? s.run % 7 : keys.indexOf(s.key) % 7;
            s.dash = several ? dashes[keys.indexOf(s.key) % 4] : [];
            s.name = several ? (keys.length > 1 ? data.runs[s.run].label + ": " + s.key : data.runs[s.run].label) : s.key;
            s.id = s.run + ":" + s.key;
            s.odd = new Map(s.nonfinite);
          }
        }
        const xs = s => {
          if (state.axis !== "time") return s[state.axis] || [];
          const first = s.time ? s.time.find(t => t !== null) : 0;
          return s.time ? s.time.map(t => t === null ? null : t - first) : [];
        };
        // Bias-corrected exponential moving average; what is not finite stays out of it.
        const smoothed = s => {
          const w = state.smooth;
          if (!w) return s.y;
          let sum = 0, weights = 0;
          return s.y.map(v => {
            if (v === null) return null;
            sum = w * sum + (1 - w) * v;
            weights = w * weights + (1 - w);
            return sum / weights;
          });
        };
        const short = v => {
          if (v === null || v === undefined) return "-";
          const a = Math.abs(v);
          if (a === 0) return "0";
          if (a >= 1e4 && Number.isInteger(v)) return v.toLocaleString("en-US");
          return a < 1e-3 || a >= 1e7 ? v.toExponential(3) : String(+v.toPrecision(6));
        };
        const tickText = (v, step) => {
          const a = Math.abs(v);
          for (const [d, u] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
            if (a >= (d === 1e3 ? 1e4 : d)) return String(+(v / d).toPrecision(4)) + u;
          if (a !== 0 && a < 1e-3) return v.toExponential(Math.abs(step) < a / 10 ? 1 : 0);
          return String(+v.toPrecision(6));
        };
        const ticks = (low, high, count) => {
          const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
          const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= rough * 0.999);
          const list = [];
          for (let i = Math.ceil(low / step - 1e-9); i <= high / step + 1e-9 && list.length < 50; i++) list.push([i * step, tickText(i * step, step)]);
          return list;
        };
        const logTicks = (low, high) => {
          const list = [], factors = high - low < 1.2 ? [1, 1.5, 2, 3, 5, 7] : high - low < 4 ? [1, 2, 5] : [1];
          for (let e = Math.floor(low); e <= high; e++) for (const f of factors) {
            const v = f * 10 ** e, l = Math.log10(v);
            if (l >= low && l <= high) list.push([l, tickText(v, v)]);
          }
          return list;
        };

        class Panel {
          constructor(panel, parent) {
            this.series = panel.series;
            this.isFirst = panel === data.panels[0];
            this.box = make("div", null, parent);
            this.box.className = "panel";
            make("h3", panel.unit, this.box);
            const legend = make("div", null, this.box);
            legend.className = "legend";
            for (const s of this.series) {
              const button = make("button", null, legend);
              const line = make("i", null, button);
              line.style.borderColor = `var(--c${s.color})`;
              if (s.dash.length) line.style.borderTopStyle = "dashed";
              make("span", s.name, button);
              button.title = "hide or show";
              button.onclick = () => {
                state.hidden.has(s.id) ? state.hidden.delete(s.id) : state.hidden.add(s.id);
                button.classList.toggle("off", state.hidden.has(s.id));
                this.draw();
              };
            }
            this.canvas = make("canvas", null, this.box);
            this.hover = make("div", null, this.box);
            this.hover.className = "hover";
            this.listen();
          }
          listen() {
            let from = null;
            const at = event => event.clientX - this.canvas.getBoundingClientRect().left;
            this.canvas.onpointerdown = event => { from = at(event); this.canvas.setPointerCapture(event.pointerId); };
            this.canvas.onpointermove = event => {
              this.drag = from === null || Math.abs(at(event) - from) < 4 ? null : [from, at(event)];
              state.hover = this.toX(at(event));
              this.pointer = [at(event), event.clientY - this.canvas.getBoundingClientRect().top];
              drawAll();
            };
            this.canvas.onpointerup = event => {
              if (this.drag) {
                const [a, b] = this.drag.map(p => this.toX(p)).sort((l, r) => l - r);
                if (b > a) state.zoom = [a, b];
              }
              from = null;
              this.drag = null;
              drawAll();
            };
            this.canvas.onpointerleave = () => { state.hover = null; this.pointer = null; drawAll(); };
            this.canvas.ondblclick = () => { state.zoom = null; drawAll(); };
            this.canvas.addEventListener("wheel", event => {
              if (!event.ctrlKey && !event.shiftKey) return;
              event.preventDefault();
              const x = this.toX(at(event)), factor = event.deltaY > 0 ? 1.25 : 0.8, [a, b] = this.range;
              state.zoom = [x - (x - a) * factor, x + (b - x) * factor];
              drawAll();
            }, { passive: false });
          }
          toX(pixel) { return this.range[0] + (pixel - this.left) / (this.right - this.left) * (this.range[1] - this.range[0]); }
          draw() {
            const ratio = window.devicePixelRatio || 1, width = this.canvas.clientWidth, height = this.canvas.clientHeight;
            this.canvas.width = width * ratio;
            this.canvas.height = height * ratio;
            const g = this.canvas.getContext("2d");
            g.scale(ratio, ratio);
            g.font = "12px system-ui,Helvetica,Arial,sans-serif";
            const shown = this.series.filter(s => !state.hidden.has(s.id)).map(s => ({ s, x: xs(s), y: smoothed(s) }));
            shown.sort((l, r) => r.y.length - l.y.length);
            [this.left, this.right] = [64, width - 24];
            const top = 8, bottom = height - 38;
            let xLow = Infinity, xHigh = -Infinity;
            for (const { x } of shown) for (const v of x) if (v !== null) { if (v < xLow) xLow = v; if (v > xHigh) xHigh = v; }
            if (!(xHigh >= xLow)) [xLow, xHigh] = [0, 1];
            if (xHigh === xLow) [xLow, xHigh] = [xLow - 1, xHigh + 1];
            this.range = state.zoom || [xLow, xHigh];
            const [a, b] = this.range;
            const visible = v => v !== null && v !== undefined && (!state.log || v > 0), map = v => state.log ? Math.log10(v) : v;
            let low = Infinity, high = -Infinity;
            const look = v => { if (visible(v)) { const m = map(v); if (m < low) low = m; if (m > high) high = m; } };
            for (const { s, x, y } of shown) for (let i = 0; i < y.length; i++) if (x[i] >= a && x[i] <= b) { look(y[i]); if (!state.smooth) look(s.y[i]); }
            if (this.isFirst) for (const r of data.references) look(r.value);
            if (!(high >= low)) [low, high] = [0, 1];
            const room = high > low ? (high - low) * 0.06 : Math.abs(low) * 0.1 || 1;
            [low, high] = [low - room, high + room];
            const px = v => this.left + (v - a) / (b - a) * (this.right - this.left), py = v => bottom - (map(v) - low) / (high - low) * (bottom - top);
            g.strokeStyle = css("--grid"); g.fillStyle = css("--soft"); g.lineWidth = 1;
            g.textAlign = "center";
            for (const [v, text] of ticks(a, b, Math.max(2, width / 110))) {
              g.beginPath(); g.moveTo(px(v), top); g.lineTo(px(v), bottom); g.stroke();
              g.fillText(text, px(v), bottom + 16);
            }
            g.fillText(axes[state.axis], (this.left + this.right) / 2, bottom + 32);
            g.textAlign = "right";
            for (const [v, text] of state.log ? logTicks(low, high) : ticks(low, high, 6)) {
              const at = bottom - (v - low) / (high - low) * (bottom - top);
              g.beginPath(); g.moveTo(this.left, at); g.lineTo(this.right, at); g.stroke();
              g.fillText(text, this.left - 6, at + 4);
            }
            g.strokeStyle = css("--frame");
            g.beginPath(); g.moveTo(this.left, top); g.lineTo(this.left, bottom); g.lineTo(this.right, bottom); g.stroke();
            g.save();
            g.beginPath(); g.rect(this.left, top, this.right - this.left, bottom - top); g.clip();
            const curve = (x, y) => {
              g.beginPath();
              let broken = true;
              for (let i = 0; i < y.length; i++) {
                if (x[i] === null || !visible(y[i])) { broken = true; continue; }
                broken ? g.moveTo(px(x[i]), py(y[i])) : g.lineTo(px(x[i]), py(y[i]));
                const next = y[i + 1];
                if (broken && !visible(next)) g.lineTo(px(x[i]) + 1, py(y[i]));
                broken = false;
              }
              g.stroke();
            };
            for (const { s, x, y } of shown) {
              g.strokeStyle = css(`--c${s.color}`);
              if (state.smooth) { g.globalAlpha = 0.25; g.lineWidth = 1; curve(x, s.y); g.globalAlpha = 1; }
              g.setLineDash(s.dash); g.lineWidth = y.length > 200 && !state.smooth ? 1.1 : 2; g.lineJoin = "round";
              curve(x, y);
              g.setLineDash([]);
              if (y.length <= 40) for (let i = 0; i < y.length; i++) if (x[i] !== null && visible(y[i])) {
                g.fillStyle = css(`--c${s.color}`);
                g.beginPath(); g.arc(px(x[i]), py(y[i]), 2.6, 0, 7); g.fill();
              }
              for (const index of s.odd.keys()) {
                const at = px(x[index]);
                g.beginPath(); g.moveTo(at - 4, top + 2); g.lineTo(at + 4, top + 10); g.moveTo(at + 4, top + 2); g.lineTo(at - 4, top + 10); g.stroke();
              }
            }
            if (this.isFirst) for (const r of data.references) if (visible(r.value)) {
              g.strokeStyle = g.fillStyle = css("--soft"); g.setLineDash([6, 5]); g.textAlign = "right";
              g.beginPath(); g.moveTo(this.left, py(r.value)); g.lineTo(this.right, py(r.value)); g.stroke();
              g.setLineDash([]); g.strokeStyle = css("--card"); g.lineWidth = 4; g.strokeText(r.label, this.right - 6, py(r.value) - 5); g.fillText(r.label, this.right - 6, py(r.value) - 5); g.lineWidth = 1;
            }
            if (this.drag) { g.fillStyle = css("--c0"); g.globalAlpha = 0.15; g.fillRect(this.drag[0], top, this.drag[1] - this.drag[0], bottom - top); g.globalAlpha = 1; }
            const lines = [];
            if (state.hover !== null && state.hover >= a && state.hover <= b) {
              g.strokeStyle = css("--frame");
              g.beginPath(); g.moveTo(px(state.hover), top); g.lineTo(px(state.hover), bottom); g.stroke();
              for (const { s, x, y } of shown) {
                let best = -1;
                for (let i = 0; i < x.length; i++) if (x[i] !== null && (best < 0 || Math.abs(x[i] - state.hover) < Math.abs(x[best] - state.hover))) best = i;
                if (best < 0) continue;
                const raw = s.odd.has(best) ? s.odd.get(best) : short(s.y[best]);
                lines.push(`${s.name}  ${raw}${state.smooth && y[best] !== null ? " (smooth " + short(y[best]) + ")" : ""}  at ${short(x[best])}`);
                if (visible(y[best])) { g.fillStyle = css(`--c${s.color}`); g.beginPath(); g.arc(px(x[best]), py(y[best]), 4, 0, 7); g.fill(); }
              }
            }
            g.restore();
            this.hover.style.display = this.pointer && lines.length ? "block" : "none";
            if (this.pointer && lines.length) {
              this.hover.textContent = lines.join("\n");
              const isRight = this.pointer[0] > width / 2;
              this.hover.style.left = isRight ? "auto" : this.canvas.offsetLeft + this.pointer[0] + 16 + "px";
              this.hover.style.right = isRight ? this.box.clientWidth - this.canvas.offsetLeft - this.pointer[0] + 16 + "px" : "auto";
              this.hover.style.top = this.canvas.offsetTop + Math.min(this.pointer[1] + 12, height - 60) + "px";
            }
          }
        }

        const panels = data.panels.map(panel => new Panel(panel, document.getElementById("panels")));
        const drawAll = () => panels.forEach(panel => panel.draw());

        const controls = document.getElementById("controls");
        const labelled = (text, element) => { const label = make("label", text, controls); label.append(element); return element; };
        const select = labelled("x axis", make("select"));
        for (const name of Object.keys(axes)) if (data.panels.some(p => p.series.some(s => s[name]))) {
          const option = make("option", axes[name], select);
          option.value = name;
        }
        select.value = state.axis;
        select.onchange = () => { state.axis = select.value; state.zoom = null; drawAll(); };
        const log = labelled("logarithmic", make("input"));
        log.type = "checkbox";
        log.checked = state.log;
        log.onchange = () => { state.log = log.checked; drawAll(); };
        const slider = labelled("smoothing", make("input"));
        Object.assign(slider, { type: "range", min: 0, max: 0.99, step: 0.01, value: state.smooth });
        const amount = make("span", String(+state.smooth.toFixed(2)), slider.parentElement);
        slider.oninput = () => { state.smooth = +slider.value; amount.textContent = slider.value; drawAll(); };
        const reset = make("button", "whole range", controls);
        reset.onclick = () => { state.zoom = null; drawAll(); };
        make("span", "drag to zoom, double-click for the whole range", controls);

        const names = [...new Set(data.runs.flatMap(run => Object.keys(run.config)))];
        if (names.length) {
          const section = document.getElementById("configuration");
          make("h2", several ? "Configurations" : "Configuration", section);
          const differing = name => several && new Set(data.runs.map(run => run.config[name])).size > 1;
          const all = make("input");
          all.type = "checkbox";
          all.checked = !several || !names.some(differing);
          if (several) { const label = make("label", "show what is equal, too ", section); label.append(all); }
          const wide = make("div", null, section);
          wide.className = "wide";
          const fill = () => {
            wide.textContent = "";
            const table = make("table", null, wide), head = make("tr", null, table);
            make("th", "", head);
            for (const run of data.runs) make("th", run.label, head);
            for (const name of names) {
              if (!all.checked && !differing(name)) continue;
              const row = make("tr", null, table);
              if (all.checked && differing(name)) row.className = "differs";
              make("td", name, row);
              for (const run of data.runs) make("td", name in run.config ? run.config[name] : "-", row);
            }
          };
          all.onchange = fill;
          fill();
        }
        window.addEventListener("resize", drawAll);
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
        drawAll();
        document.documentElement.dataset.drawn = String(panels.length);
        """#
}
