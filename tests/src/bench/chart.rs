//! Charts: one line a subject over the numbers of a group, or one bar where there is but one number.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;
use plotters::coord::ranged1d::{SegmentValue, SegmentedCoord};
use plotters::coord::types::{RangedCoordf64, RangedCoordusize};
use plotters::prelude::*;

use super::case::{Group, Measure, Subject};
use super::report::{Report, Row};

const SIZE: (u32, u32) = (860, 460);
const FONT: &str = "sans-serif";

/// The most numbers that are written below a chart.
const MOST_LABELS: usize = 12;

/// Values that differ by more than this are drawn by their magnitude.
const WIDE: f64 = 30.0;

const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(90, 90, 90),
];

/// Draws every chart of the report into `folder`.
pub fn draw(report: &Report, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (group, rows) in report.groups() {
        for measures in group.plot {
            if let Some(chart) = Chart::new(group, measures, &rows) {
                chart.draw(&folder.join(&chart.file))?;
            }
        }
    }
    Ok(())
}

/// What is drawn, as numbers.
struct Chart {
    title: String,
    file: String,
    axis: &'static str,
    /// What is written below.
    labels: Vec<String>,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    /// The same for a subject in all charts where it has one line.
    colour: RGBColor,
    /// The place of the label, and the value.
    points: Vec<(usize, f64)>,
}

impl Chart {
    /// Nothing where there is nothing to compare.
    fn new(group: &Group, measures: &[Measure], rows: &[&Row]) -> Option<Self> {
        let numbers: BTreeSet<u64> = rows.iter().map(|row| row.key.at).collect();
        let subjects: BTreeSet<Subject> = rows.iter().map(|row| row.key.subject).collect();
        let place = |at: u64| numbers.iter().position(|number| *number == at);
        let mut lines = Vec::new();
        for subject in subjects {
            for measure in measures {
                let of_subject = rows.iter().filter(|row| row.key.subject == subject);
                let points: Vec<(usize, f64)> = of_subject
                    .filter_map(|row| Some((place(row.key.at)?, *row.median.get(measure)?)))
                    .collect();
                let name =
                    if measures.len() == 1 { subject.to_string() } else { format!("{subject}: {measure}") };
                let number = if measures.len() == 1 { subject as usize } else { lines.len() };
                let colour = COLOURS[number % COLOURS.len()];
                lines.extend((!points.is_empty()).then_some(Line { name, colour, points }));
            }
        }
        let names: Vec<String> = measures.iter().map(ToString::to_string).collect();
        // The first measure tells the charts of a group apart, where it has several.
        let several = group.plot.len() > 1;
        let file = if several { format!("{} {}", group.name, names[0]) } else { group.name.to_owned() };
        // One line needs no legend.
        let whose = if lines.len() == 1 { format!(", {}", lines[0].name) } else { String::new() };
        (numbers.len() != 2 && !lines.is_empty()).then(|| Self {
            title: format!("{}: {}{whose}", group.name, names.join(", ")),
            file: format!("{}.svg", file.replace(' ', "-")),
            axis: group.axis,
            labels: numbers.iter().map(ToString::to_string).collect(),
            lines,
        })
    }

    fn draw(&self, file: &Path) -> Result<()> {
        let (is_bars, scale) = (self.labels.len() == 1, Scale::of(&self.lines));
        let names: Vec<String> = self.lines.iter().map(|line| line.name.clone()).collect();
        let labels = if is_bars { &names } else { &self.labels };
        let label = |place: &SegmentValue<usize>| match place {
            SegmentValue::CenterOf(place) => labels.get(*place).cloned().unwrap_or_default(),
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        };
        let has_legend = !is_bars && self.lines.len() > 1;
        // The last places belong to it.
        let legend = if has_legend { 1 + labels.len() / 3 } else { 0 };
        let places = 0..labels.len() + legend - 1;
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut canvas = ChartBuilder::on(&area)
            .caption(&self.title, (FONT, 18))
            .margin(14)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(places.into_segmented(), scale.least..scale.most)?;
        canvas
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .x_labels((labels.len() + 1).min(MOST_LABELS))
            .x_label_formatter(&label)
            .y_label_formatter(&|place| scale.label(*place))
            .x_desc(if is_bars { "" } else { self.axis })
            .label_style((FONT, 14))
            .draw()?;
        if is_bars {
            draw_bars(&mut canvas, &self.lines, &scale)?;
        } else {
            for line in &self.lines {
                draw_line(&mut canvas, line, &scale)?;
            }
        }
        if has_legend {
            let legend = &mut canvas.configure_series_labels();
            legend
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .label_font((FONT, 14))
                .draw()?;
        }
        Ok(area.present()?)
    }
}

type Canvas<'a> =
    ChartContext<'a, SVGBackend<'a>, Cartesian2d<SegmentedCoord<RangedCoordusize>, RangedCoordf64>>;

/// A bar for the first value of each line.
fn draw_bars(canvas: &mut Canvas<'_>, lines: &[Line], scale: &Scale) -> Result<()> {
    let bars = lines.iter().enumerate().map(|(place, line)| {
        let value = scale.place(line.points[0].1);
        let corners = [(SegmentValue::Exact(place), scale.least), (SegmentValue::Exact(place + 1), value)];
        let mut bar = Rectangle::new(corners, line.colour.filled());
        bar.set_margin(0, 0, 40, 40);
        bar
    });
    canvas.draw_series(bars)?;
    Ok(())
}

fn draw_line(canvas: &mut Canvas<'_>, line: &Line, scale: &Scale) -> Result<()> {
    let colour = line.colour;
    let points =
        line.points.iter().map(|(place, value)| (SegmentValue::CenterOf(*place), scale.place(*value)));
    let size = if line.points.len() > MOST_LABELS { 0 } else { 4 };
    let series = LineSeries::new(points, colour.stroke_width(2)).point_size(size);
    let stroke = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
    canvas.draw_series(series)?.label(&line.name).legend(stroke);
    Ok(())
}

/// Where a value is drawn: from nothing up, or by its magnitude where the values are far from each other.
struct Scale {
    is_wide: bool,
    least: f64,
    most: f64,
}

impl Scale {
    fn of(lines: &[Line]) -> Self {
        let values = || lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
        let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        if least > 0.0 && most / least > WIDE {
            return Self { is_wide: true, least: least.log10().floor(), most: most.log10().ceil() };
        }
        Self { is_wide: false, least: 0.0, most: most * 1.08 }
    }

    fn place(&self, value: f64) -> f64 {
        if self.is_wide { value.log10() } else { value }
    }

    /// Of a magnitude only the whole ones are written.
    fn label(&self, place: f64) -> String {
        match (self.is_wide, place.fract().abs() < 1e-9) {
            (true, true) => format!("{}", 10_f64.powf(place)),
            (true, false) => String::new(),
            (false, _) if self.most < 10.0 => format!("{place:.1}"),
            (false, _) => format!("{place:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_far_from_each_other_are_drawn_by_their_magnitude() {
        let line = |values: &[f64]| {
            [Line {
                name: String::new(),
                colour: COLOURS[0],
                points: values.iter().copied().enumerate().collect(),
            }]
        };
        let near = Scale::of(&line(&[50.0, 100.0]));
        assert_eq!((near.least, near.most, near.place(50.0)), (0.0, 108.0, 50.0));
        let wide = Scale::of(&line(&[2.0, 5000.0]));
        assert_eq!((wide.least, wide.most, wide.place(100.0)), (0.0, 4.0, 2.0));
        assert_eq!((wide.label(3.0), wide.label(2.5)), ("1000".to_owned(), String::new()));
    }
}
