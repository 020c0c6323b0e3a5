// How the page looks, on light and on dark screens.

extension HTMLPage {
    static let style = """
        :root{--back:#fff;--text:#222;--soft:#666;--grid:#e4e4e4;--frame:#999;--card:#fafafa;--mark:#fff3c4;
        --c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#b27d00;--c5:#3490c4;--c6:#777}
        @media(prefers-color-scheme:dark){:root{--back:#16181c;--text:#ddd;--soft:#999;--grid:#2d3036;--frame:#777;
        --card:#1c1f24;--mark:#4a4220;--c0:#3d9fe0;--c1:#ee8336;--c2:#2cc79c;--c3:#dd9bc0;--c4:#e6b030;--c5:#7cc6f0;--c6:#aaa}}
        *{box-sizing:border-box}
        body{margin:0 auto;max-width:1400px;padding:16px 24px 40px;background:var(--back);color:var(--text);
        font:14px/1.45 system-ui,Helvetica,Arial,"DejaVu Sans",sans-serif}
        h1{font-size:20px;margin:0 0 8px}h2{font-size:16px;margin:28px 0 8px}
        #controls{display:flex;flex-wrap:wrap;gap:8px 20px;align-items:center;margin-bottom:12px;color:var(--soft)}
        #controls label{display:flex;gap:6px;align-items:center}
        #controls button,#controls select{font:inherit;color:var(--text);background:var(--card);border:1px solid var(--frame);
        border-radius:4px;padding:2px 8px}
        #panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(560px,100%),1fr));gap:16px}
        .panel{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:10px 12px;position:relative;min-width:0}
        .panel h3{font-size:14px;margin:0 0 4px}
        .panel canvas{display:block;width:100%;height:300px;cursor:crosshair}
        .legend{display:flex;flex-wrap:wrap;gap:2px 14px;margin-bottom:4px}
        .legend button{all:unset;cursor:pointer;display:flex;gap:6px;align-items:center}
        .legend button:focus-visible{outline:2px solid var(--c0)}
        .legend .off{opacity:.35}.legend i{width:18px;height:0;border-top:3px solid}
        .hover{position:absolute;pointer-events:none;background:var(--back);border:1px solid var(--frame);border-radius:6px;
        padding:6px 8px;font-size:12px;white-space:pre;display:none;z-index:2;max-width:90%;overflow:hidden}
        table{border-collapse:collapse;width:100%}
        .wide{overflow-x:auto}
        th,td{text-align:left;padding:3px 12px 3px 0;border-bottom:1px solid var(--grid);vertical-align:top;
        overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
        th{color:var(--soft);font-weight:600}.differs td{background:var(--mark)}
        noscript svg{max-width:100%;height:auto}
        """
}
