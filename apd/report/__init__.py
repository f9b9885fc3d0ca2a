"""What a stream has become, for people: one self-contained HTML page, a terminal table, a Markdown table.

    content     everything a report shows, as plain frozen data
    summary     the figures derived from it: averages, forgetting, capacity
    formats     numbers and names as text
    svg         a matplotlib figure as part of a page
    heatmaps    the figures that are matrices
    charts      the other figures
    page        the HTML page
    tables      the terminal table and the Markdown table

Data in, text out: nothing here reads a store, and the same data gives the same bytes.
"""
